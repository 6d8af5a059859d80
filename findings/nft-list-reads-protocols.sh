#!/bin/sh
# nft 1.0.6 (Debian 12): to list a set whose elements hold a protocol, such as `tcp . 443`, it opens and
# reads /etc/protocols once for each element: 500 elements, 500 times. With -n it is not opened at all. To
# load the same set takes no look either. For a program that lists a large set often, -n is half the time.
# Needs root, and strace to count.
set -eu
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get download -qq nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 strace >/dev/null
for deb in *.deb; do dpkg -x "$deb" tree; done
cat >measure <<'SH'
nft=$PWD/tree/usr/sbin/nft
export LD_LIBRARY_PATH=$(dirname "$(find "$PWD/tree" -name 'libnftables.so.1')")
{
    echo 'table inet t { set s { type inet_proto . inet_service; elements = {'
    seq -f 'tcp . %g,' 1 499
    echo 'tcp . 500 } } }' | sed 's/} } }/}\n}\n}/'
} >set.nft
count() {
    tree/usr/bin/strace -f -e trace=openat -o trace "$nft" "$@" >/dev/null
    grep -c '"/etc/protocols"' trace || true
}
echo "load $(count -f set.nft)"
echo "list $(count list set inet t s)"
echo "list -n $(count -n list set inet t s)"
SH
# A network of its own: nothing of this machine's is touched.
unshare --net sh -eu measure | tee counted
[ "$(cat counted)" = "load 0
list 500
list -n 0" ]
echo "as it was: once for each element"
