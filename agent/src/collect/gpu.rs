//! Graphics processors, as far as files tell of them.
//!
//! AMD's driver shows load and memory below `/sys/class/drm`, under the names of node_exporter's `drm` collector. Jetson
//! boards show a load file; Mali, Adreno and other processors on ARM boards have a devfreq device, with a load where the
//! vendor's kernel adds one. Of NVIDIA's own driver only what it writes to `/proc/driver/nvidia` is read.
//!
//! **Not done: NVML.** Load, memory and temperature of NVIDIA's cards come from a shared library alone, and a static
//! musl binary cannot load one. Until the agent is built otherwise, a program that asks NVML and leaves a file for the
//! textfile collector fills the gap.

use super::sink::{Rows, gauge};
use super::source::{CollectError, Text, entries, file_name, number_at, word_at};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

static CARD: MetricMeta = gauge("node_drm_card_info", "Card information");
/// File below the card's device, and metric.
static AMD: [(&str, MetricMeta); 7] = [
    ("gpu_busy_percent", gauge("node_drm_gpu_busy_percent", "How busy the GPU is as a percentage.")),
    (
        "mem_info_gtt_total",
        gauge("node_drm_memory_gtt_size_bytes", "The size of the graphics translation table (GTT) block in bytes."),
    ),
    (
        "mem_info_gtt_used",
        gauge(
            "node_drm_memory_gtt_used_bytes",
            "The used amount of the graphics translation table (GTT) block in bytes.",
        ),
    ),
    ("mem_info_vis_vram_total", gauge("node_drm_memory_vis_vram_size_bytes", "The size of visible VRAM in bytes.")),
    (
        "mem_info_vis_vram_used",
        gauge("node_drm_memory_vis_vram_used_bytes", "The used amount of visible VRAM in bytes."),
    ),
    ("mem_info_vram_total", gauge("node_drm_memory_vram_size_bytes", "The size of VRAM in bytes.")),
    ("mem_info_vram_used", gauge("node_drm_memory_vram_used_bytes", "The used amount of VRAM in bytes.")),
];

/// AMD's cards.
pub(super) struct Drm;

impl Collect for Drm {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        for path in entries(&round.roots.sys.join("class/drm"))? {
            let card = file_name(&path);
            let device = path.join("device");
            // Outputs of a card are named `card0-HDMI-A-1`.
            let is_card = card.strip_prefix("card").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
            let driver = word_at(device.join("uevent")).unwrap_or_default();
            if !is_card || !driver.lines().any(|line| line == "DRIVER=amdgpu") {
                continue;
            }
            for (file, meta) in &AMD {
                if let Some(value) = number_at(device.join(file)) {
                    rows.push(meta, &[("card", &card)], value);
                }
            }
            let of = |file: &str| word_at(device.join(file)).unwrap_or_default();
            let labels = [
                ("card", card.as_str()),
                ("memory_vendor", &of("mem_info_vram_vendor")),
                ("power_performance_level", &of("power_dpm_force_performance_level")),
                ("unique_id", &of("unique_id")),
                ("vendor", "amd"),
            ];
            rows.push(&CARD, &labels, 1.0);
        }
        rows.pour(sink);
        Ok(())
    }
}

static LOAD: MetricMeta = gauge("node_gpu_load_ratio", "How busy the GPU is, 0 to 1.");
static INFO: MetricMeta = gauge("node_gpu_info", "What the driver tells of the GPU, value is always 1.");
/// Where the kernels of Jetson boards put the load, in thousandths.
const JETSON: [&str; 2] = ["devices/gpu.0/load", "devices/platform/gpu.0/load"];
const THOUSAND: f64 = 1000.0;

/// Jetson's and NVIDIA's processors.
pub(super) struct Gpu;

impl Collect for Gpu {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        if let Some(load) = JETSON.iter().find_map(|file| number_at(round.roots.sys.join(file))) {
            rows.push(&LOAD, &[("gpu", "gpu.0")], load / THOUSAND);
        }
        for path in entries(&round.roots.proc.join("driver/nvidia/gpus"))? {
            let Ok(text) = Text::read(path.join("information")) else { continue };
            let of = |key: &str| {
                let found = text.content.lines().filter_map(|line| line.split_once(':')).find(|(k, _)| k.trim() == key);
                found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
            };
            let labels = [
                ("bios", of("Video BIOS")),
                ("driver", "nvidia".to_owned()),
                ("gpu", file_name(&path)),
                ("model", of("Model")),
                ("uuid", of("GPU UUID")),
            ];
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            rows.push(&INFO, &labels, 1.0);
        }
        rows.pour(sink);
        Ok(())
    }
}

/// In the order of [`FREQUENCIES`].
static DEVFREQ: [MetricMeta; 3] = [
    gauge("node_devfreq_frequency_hertz", "Current frequency of the device in hertz."),
    gauge("node_devfreq_frequency_max_hertz", "Maximum frequency of the device in hertz."),
    gauge("node_devfreq_frequency_min_hertz", "Minimum frequency of the device in hertz."),
];
const FREQUENCIES: [&str; 3] = ["cur_freq", "max_freq", "min_freq"];
static DEVFREQ_LOAD: MetricMeta = gauge("node_devfreq_load_ratio", "How busy the device is, 0 to 1.");

/// Devices with a frequency of their own, among them the graphics processors of most ARM boards.
pub(super) struct Devfreq;

impl Collect for Devfreq {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        for path in entries(&round.roots.sys.join("class/devfreq"))? {
            let device = file_name(&path);
            for (meta, file) in DEVFREQ.iter().zip(FREQUENCIES) {
                if let Some(hertz) = number_at(path.join(file)) {
                    rows.push(meta, &[("device", &device)], hertz);
                }
            }
            // Rockchip writes `PERCENT@HERTZHz`; NVIDIA's device has thousandths.
            let percent = word_at(path.join("load"))
                .and_then(|text| text.split('@').next()?.parse::<f64>().ok())
                .map(|percent| percent / 100.0);
            let load = percent.or_else(|| Some(number_at(path.join("device/load"))? / THOUSAND));
            if let Some(load) = load {
                rows.push(&DEVFREQ_LOAD, &[("device", &device)], load);
            }
        }
        rows.pour(sink);
        Ok(())
    }
}
