#!/bin/sh
# A fake systemctl for tests. States of units are files below FOLDER/units.
cd 'FOLDER' || exit 1
echo "$*" >> calls
if [ -s fail ]; then
    [ "$(cat fail)" = hang ] && exec sleep 600
    cat fail >&2
    exit 1
fi
verb=
for argument; do
    shift
    case $argument in
    --*) ;;
    *) if [ -z "$verb" ]; then verb=$argument; else set -- "$@" "$argument"; fi ;;
    esac
done

# The template of a unit: what stands before '@', where there is such a template.
template() {
    case $1 in *@*.service) [ -e "templates/${1%%@*}" ] && echo "${1%%@*}" ;; esac
}

tell() {
    [ -n "$told" ] && echo
    told=yes
    name=$(template "$1")
    if [ -z "$name" ]; then
        printf 'Id=%s\nLoadState=not-found\nActiveState=inactive\n' "$1"
        return
    fi
    state=inactive since=0
    [ -e "units/$1" ] && state=$(cat "units/$1") && since=1000000
    printf 'Id=%s\nLoadState=loaded\nActiveState=%s\n' "$1" "$state"
    printf 'InactiveExitTimestampMonotonic=%s\nActiveEnterTimestampMonotonic=%s\n' "$since" "$since"
    cat "templates/$name"
}

status=0
for unit; do
    case $verb in
    show)
        case $unit in
        *'*'*) for file in units/$unit; do [ -e "$file" ] && tell "${file#units/}"; done ;;
        *) tell "$unit" ;;
        esac
        ;;
    start)
        if [ -n "$(template "$unit")" ]; then
            echo active > "units/$unit"
        else
            echo "Failed to start $unit: Unit $unit not found." >&2
            status=5
        fi
        ;;
    stop) [ "$(cat "units/$unit" 2> /dev/null)" = failed ] || rm -f "units/$unit" ;;
    reset-failed) rm -f "units/$unit" ;;
    *)
        echo "the fake systemctl does not know '$verb'" >&2
        exit 1
        ;;
    esac
done
exit "$status"
