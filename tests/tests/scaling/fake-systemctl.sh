#!/bin/sh
# Stands in for systemd's systemctl: template worker@.service, whose instances are lines of file `units`.
cd "$(dirname "$0")" || exit 1
[ -e units ] || echo worker@1.service >units
shift 2
verb=$1
while [ "$1" != -- ]; do shift; done
shift
case $verb in
show)
    for unit in worker@1.service $(cat units); do
        state=inactive
        grep -qx "$unit" units && state=active
        printf 'Id=%s\nLoadState=loaded\nActiveState=%s\nInactiveExitTimestampMonotonic=40000000\n' "$unit" "$state"
        printf 'ActiveEnterTimestampMonotonic=41000000\n\n'
    done ;;
start)
    for unit; do grep -qx "$unit" units || echo "$unit" >>units; done ;;
stop)
    for unit; do grep -vx "$unit" units >left; mv left units; done ;;
esac
