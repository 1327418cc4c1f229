#!/bin/sh
# Goes into a cgroup of its own and starts inside.sh in namespaces of its own.
set -e
mkdir -p "$1"
echo $$ > "$1/cgroup.procs"
exec unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child sh "$2/inside.sh" "$2"
