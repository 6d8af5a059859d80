#!/bin/sh
# systemd 252 (Debian 12) makes the /dev of a unit with PrivateDevices= in /tmp, for as long as it needs to
# set it up. systemd-tmpfiles-setup.service empties /tmp, and takes that away. So a unit that starts beside it
# (one with DefaultDependencies=no) fails now and then with 226/NAMESPACE: "Failed to set up mount
# namespacing: /run/systemd/unit-root/dev: No such file or directory". Seen here: 11 to 17 of 50 units, where
# the boot before has left 20,000 files in /tmp. PrivateTmp= keeps it from failing, as it is ordered after
# that service. systemd 257 (Debian 13) makes it in /run, and no unit fails (since 255, says its pull
# request 29343).
# Needs root, debootstrap and systemd-nspawn, and two minutes.
set -eu
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian$' | head -n 1)

# Fifty units beside what empties /tmp, in which the boot before has left something.
boot() {
    release=$1 options=$2
    rm -rf boot result
    cp -a "$release" boot
    for number in $(seq 50); do
        cat >"boot/etc/systemd/system/probe$number.service" <<UNIT
[Unit]
DefaultDependencies=no
After=local-fs.target
Before=report.service
[Service]
Type=oneshot
ExecStart=/bin/true
PrivateDevices=yes
$options
UNIT
    done
    cat >boot/etc/systemd/system/report.service <<UNIT
[Unit]
DefaultDependencies=no
Wants=$(seq -f 'probe%g.service' -s ' ' 50)
After=systemd-tmpfiles-setup.service
SuccessAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'systemctl list-units --failed --no-legend "probe*" | wc -l >/result'
UNIT
    mkdir -p boot/etc/systemd/system/sysinit.target.wants
    ln -s ../report.service boot/etc/systemd/system/sysinit.target.wants
    mkdir boot/tmp/left
    (cd boot/tmp/left && seq -f file%g 20000 | xargs touch)
    # A network and processes of its own; what is PID 1 of this machine does not matter.
    timeout 120 unshare --net --mount --pid --fork --kill-child --mount-proc \
        env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit \
        --private-users=no --directory=boot --console=read-only --boot >console 2>&1 </dev/null
    echo "$release${options:+, $options}: $(cat boot/result) of 50 have failed" | tee -a said
}
for release in bookworm trixie; do
    debootstrap --variant=minbase --include=systemd-sysv "$release" "$release" "$mirror" >log 2>&1
    chroot "$release" dpkg-query --showformat '${Package} ${Version}\n' --show systemd
done | tee versions
[ "$(cat versions)" = 'systemd 252.39-1~deb12u2
systemd 257.13-1~deb13u1' ]
boot bookworm ""
boot bookworm PrivateTmp=yes
boot trixie ""
[ "$(grep -cx 'bookworm: [1-9][0-9]* of 50 have failed' said)" = 1 ]
[ "$(tail -n 2 said)" = 'bookworm, PrivateTmp=yes: 0 of 50 have failed
trixie: 0 of 50 have failed' ]
echo "as it was: beside what empties /tmp they fail, but for those with PrivateTmp= and a later systemd"
