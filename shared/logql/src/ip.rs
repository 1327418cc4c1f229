//! `ip("…")`: lines and labels by the addresses that stand in them.

use std::net::IpAddr;

/// Addresses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IpRange {
    first: IpAddr,
    last: IpAddr,
}

impl IpRange {
    /// Of `192.168.0.1`, `192.168.0.1-192.168.0.9` or `192.168.0.0/24`; likewise of IPv6.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            return (of_one_kind(first, last) && first <= last).then_some(Self { first, last });
        }
        let Some((address, length)) = text.split_once('/') else {
            let address = text.parse().ok()?;
            return Some(Self { first: address, last: address });
        };
        let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
        Some(match address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                let first = address.to_bits() & !host;
                (length <= 32)
                    .then_some(Self { first: IpAddr::V4(first.into()), last: IpAddr::V4((first | host).into()) })?
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                let first = address.to_bits() & !host;
                (length <= 128)
                    .then_some(Self { first: IpAddr::V6(first.into()), last: IpAddr::V6((first | host).into()) })?
            }
        })
    }

    fn contains(&self, address: IpAddr) -> bool {
        of_one_kind(self.first, address) && self.first <= address && address <= self.last
    }

    /// Whether one of the addresses stands in a text.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        // Runs of what addresses are made of; longer ones are none.
        let runs = text.split(|b| !(b.is_ascii_hexdigit() || matches!(b, b'.' | b':'))).filter(|run| run.len() >= 2);
        runs.filter_map(|run| std::str::from_utf8(run).ok()).any(|run| {
            let bare = run.trim_end_matches(['.', ':']);
            // An address with its port is an address too.
            let before_port = bare.rsplit_once(':').map(|(address, _)| address);
            let candidates = [Some(run), Some(bare), before_port, Some(bare.trim_start_matches(':'))];
            candidates.into_iter().flatten().filter_map(|text| text.parse().ok()).any(|address| self.contains(address))
        })
    }
}

fn of_one_kind(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_texts() {
        for (range, text, is_in) in [
            ("192.168.4.5", "from 192.168.4.5, port 1", true),
            ("192.168.4.5", "from 192.168.4.50", false),
            ("192.168.4.5/16", "x=192.168.9.9:443 y", true),
            ("192.168.4.5/16", "192.169.0.1", false),
            ("10.0.0.1-10.0.0.9", "[10.0.0.9]", true),
            ("10.0.0.1-10.0.0.9", "10.0.0.10.", false),
            ("2001:db8::/32", "client 2001:db8::7 said", true),
            ("2001:db8::/32", "2001:db9::7", false),
            ("::1", "on ::1.", true),
            ("0.0.0.0/0", "no address: 1.2.3", false),
            ("0.0.0.0/0", "8.8.8.8", true),
        ] {
            assert_eq!(IpRange::parse(range).unwrap().is_in(text.as_bytes()), is_in, "{range} in {text}");
        }
        for bad in ["", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4-::1", "9.9.9.9-1.1.1.1", "x"] {
            assert_eq!(IpRange::parse(bad), None, "{bad}");
        }
    }
}
