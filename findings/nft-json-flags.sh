#!/bin/sh
# nft 1.0.6 (Debian 12) writes the mask of `tcp flags & (fin | syn | rst | ack) != syn` into its JSON as a
# list, ["fin", "syn", "rst", "ack"]. Seen with 1.1.3 and 1.1.7: as one operation of four operands,
# {"|": ["fin", "syn", "rst", "ack"]}. Both say json_schema_version 1, and the rule is the same to the kernel.
# So a reader that knows one form fails with the other; one that takes `|` for an operation of two, as it is
# where two flags are joined, gets a mask of fin and syn, and another rule, without an error.
# Needs root, for a network of its own.
set -eu
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get download -qq nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 >/dev/null
for deb in *.deb; do dpkg -x "$deb" tree; done
cat >rules.nft <<'NFT'
table inet t {
    chain c {
        tcp flags & (fin | syn | rst | ack) != syn accept
    }
}
NFT
libraries=$(dirname "$(find "$place/tree" -name 'libnftables.so.1')")
LD_LIBRARY_PATH=$libraries unshare --net sh -euc '
tree/usr/sbin/nft -f rules.nft
tree/usr/sbin/nft -j list ruleset' >listed
grep -o '"json_schema_version": 1' listed
grep -o '"left": .*"right": "syn"' listed | tee said
[ "$(cat said)" = '"left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn", "rst", "ack"]]}, "right": "syn"' ]
echo "as it was: a list"
