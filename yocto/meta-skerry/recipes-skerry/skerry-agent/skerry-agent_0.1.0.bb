SUMMARY = "Skerry edge agent"
DESCRIPTION = "Collects metrics and logs into SQLite, keeps them while the link is down, and obeys signed configs alone."
HOMEPAGE = "https://github.com/skerry-io/skerry"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# The layer lies inside the repository, so the sources are the ones beside it. A distribution that takes the layer alone
# sets SRC_URI to the repository and SRCREV to a release.
inherit externalsrc cargo systemd
EXTERNALSRC ?= "${@os.path.abspath(os.path.join(d.getVar('THISDIR'), '../../../..'))}"

# Crates come from the network in do_compile, held to Cargo.lock. `bitbake -c update_crates skerry-agent` makes the list
# for builds without one; then `require` it here and drop the next line.
do_compile[network] = "1"
CARGO_BUILD_FLAGS += "--locked --package skerry-agent"

SRC_URI += "file://agent.yaml file://skerry-agent.service"
SYSTEMD_SERVICE:${PN} = "skerry-agent.service"

do_install() {
    install -Dm 0755 ${B}/target/${CARGO_TARGET_SUBDIR}/skerry-agent ${D}${bindir}/skerry-agent
    install -Dm 0600 ${UNPACKDIR}/agent.yaml ${D}${sysconfdir}/skerry/agent.yaml
    install -Dm 0644 ${UNPACKDIR}/skerry-agent.service ${D}${systemd_system_unitdir}/skerry-agent.service
}

# UNPACKDIR came with styhead; before it, files were unpacked to WORKDIR.
UNPACKDIR ??= "${WORKDIR}"

CONFFILES:${PN} = "${sysconfdir}/skerry/agent.yaml"
