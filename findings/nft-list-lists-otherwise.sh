#!/bin/sh
# nft 1.0.6 (Debian 12): load a rule with a set of which one element covers another, `{ 1-10, 5 }`; list the
# ruleset; load that list; list again. The two lists differ: the first has a set of one element, which the
# parser takes for the element alone. The same with a name and a pattern, `{ "eth0", "eth*" }`.
# So whoever compares what is loaded with the list that was saved last time, after a boot that loaded that
# very list, sees a difference that nobody made. The third list is like the second. (Seen with 1.1.3 and
# 1.1.7, too.)
# Needs root, for a network of its own.
set -eu
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get download -qq nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 >/dev/null
for deb in *.deb; do dpkg -x "$deb" tree; done
cat >try <<'SH'
nft=$PWD/tree/usr/sbin/nft
export LD_LIBRARY_PATH=$(dirname "$(find "$PWD/tree" -name 'libnftables.so.1')")
for match in 'tcp dport { 1-10, 5 }' 'iifname { "eth0", "eth*" }'; do
    echo "table inet t { chain c { $match accept; }; }" >list.nft
    for time in first second third; do
        $nft -f list.nft
        $nft list ruleset >list.nft
        $nft flush ruleset
        echo "$time: $(sed -n 's/^\t\t//p' list.nft)"
    done
done
SH
unshare --net sh -eu try | tee said
[ "$(cat said)" = 'first: tcp dport { 1-10 } accept
second: tcp dport 1-10 accept
third: tcp dport 1-10 accept
first: iifname { "eth*" } accept
second: iifname "eth*" accept
third: iifname "eth*" accept' ]
echo "as it was: a list that is loaded is listed otherwise"
