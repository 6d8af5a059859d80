#!/bin/sh
# nft 1.1.3 (Debian 13): a range of `meta hour` is refused, "Range negative size", when it crosses midnight
# of UTC, for that is how the kernel has it. So the same file is good or bad by the time zone of who loads
# it: office hours, 08:00 to 17:00, are refused in Tokyo, and the night, 22:00 to 06:00, in London.
# nft 1.0.6 (Debian 12) takes both, and lists such a range the other way round: `hour != "06:00"-"22:00"`.
# Seen with 1.1.7: it takes both, and lists them as they were written.
# Needs root, for a network of its own, and zoneinfo.
set -eu
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"

# apt with lists of its own: what this machine installs stays what it was.
apart() {
    command=$1
    shift
    "$command" -o Dir::Etc::SourceList="$PWD/sources" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache" \
        -o Dir::State::Status=/dev/null "$@"
}

# nft of one release, with all its libraries and the loader that they need.
fetch() {
    mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
    cd "$1"
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian$' | head -n 1)
    echo "deb $mirror $1 main" >sources
    apart apt-get update -qq
    names=$(apart apt-cache depends --recurse --important nftables | grep '^[a-z]' | sort -u)
    # shellcheck disable=SC2086
    apart apt-get download -qq $names "nftables=$2" "libnftables1=$2" >/dev/null
    for deb in ./*.deb; do dpkg -x "$deb" tree; done
    cd ..
}
fetch bookworm 1.0.6-2+deb12u2
fetch trixie 1.1.3-1

cat >try <<'SH'
for suite in bookworm trixie; do
    loader=$(find "$suite/tree" -name 'ld-linux*.so.*' | head -n 1)
    for library in "$suite"/tree/usr/lib/*-linux-* "$suite"/tree/lib/*-linux-*; do
        path=${path:+$path:}$library
    done
    for zone in Europe/London Asia/Tokyo; do
        for hours in '"08:00"-"17:00"' '"22:00"-"06:00"'; do
            echo "table inet t { chain c { meta hour $hours accept; }; }" >hours.nft
            if TZ=$zone "$loader" --library-path "$path" "$suite/tree/usr/sbin/nft" -f hours.nft 2>error; then
                TZ=$zone "$loader" --library-path "$path" "$suite/tree/usr/sbin/nft" list ruleset >list
                echo "$suite, $zone, $hours: $(sed -n 's/^.*meta //p' list)"
                "$loader" --library-path "$path" "$suite/tree/usr/sbin/nft" flush ruleset
            else
                echo "$suite, $zone, $hours: $(sed -n 's/^.*Error: //p' error)"
            fi
        done
    done
    path=
done
SH
unshare --net sh -eu try | tee said
[ "$(cat said)" = 'bookworm, Europe/London, "08:00"-"17:00": hour "08:00"-"17:00" accept
bookworm, Europe/London, "22:00"-"06:00": hour != "06:00"-"22:00" accept
bookworm, Asia/Tokyo, "08:00"-"17:00": hour != "17:00"-"08:00" accept
bookworm, Asia/Tokyo, "22:00"-"06:00": hour "22:00"-"06:00" accept
trixie, Europe/London, "08:00"-"17:00": hour "08:00"-"17:00" accept
trixie, Europe/London, "22:00"-"06:00": Range negative size
trixie, Asia/Tokyo, "08:00"-"17:00": Range negative size
trixie, Asia/Tokyo, "22:00"-"06:00": hour "22:00"-"06:00" accept' ]
echo "as it was: by the time zone"
