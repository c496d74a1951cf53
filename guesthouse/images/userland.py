"""The guest's own part: /init and the agent, for busybox's shell (POSIX sh and `read -t`, `$'...'`, `<(
)`).

`agent.py` describes the lines that the two ends exchange. Parameters on the kernel's command line:
guesthouse.run=shell|agent (a shell on the console beside the agent, or the agent alone),
guesthouse.announce (print `guesthouse: userland up` first of all), guesthouse.exit=poweroff|respawn (what
follows the shell's end), guesthouse.size=ROWSxCOLUMNS and guesthouse.term=NAME (of the terminal at the
console).
"""

INIT = r"""#!/bin/sh
# Process 1 of a guesthouse guest. Every fork counts here: this is part of the time to the first prompt.
export PATH=/bin HOME=/root USER=root
mount -a                        # /etc/fstab: proc, sysfs, devtmpfs, in one process
ln -s /proc/self/fd /dev/fd    # the shell names the pipes of <( ) so

mode=shell after=poweroff size= given=
set -f                          # the command line is words, not patterns
read -r line </proc/cmdline
for word in $line; do
    case $word in
    guesthouse.announce) echo "guesthouse: userland up" ;;
    guesthouse.run=*) mode=${word#*=} ;;
    guesthouse.exit=*) after=${word#*=} ;;
    guesthouse.size=*x*) size=${word#*=} ;;
    guesthouse.term=*) export TERM="${word#*=}" ;;
    virtio_mmio.device=*) given=yes ;;
    esac
done
set +f

# The device behind /dev/console (the last one named): only a real terminal can be a controlling one.
terminal=console
read -r line </sys/class/tty/console/active
for word in $line; do terminal=$word; done
[ "$size" ] && stty -F "/dev/$terminal" rows "${size%x*}" cols "${size#*x}"
read -r line </etc/hostname && echo "$line" >/proc/sys/kernel/hostname

# Modules by the names that devices ask for (modalias): first the buses, then what was found on them.
load() {
    wanted=
    for file; do
        read -r line 2>/dev/null <"$file" || continue
        case $line in *v00001AF4* | *virtio* | *LNRO0005*) wanted="$wanted $line" ;; esac
    done
    [ ! "$wanted" ] || modprobe -qa $wanted
}
load_modules() {
    [ ! "$given" ] || modprobe -q virtio_mmio   # takes virtio_mmio.device= from the command line by itself
    load /sys/bus/platform/devices/*/modalias /sys/bus/pci/devices/*/modalias
    load /sys/bus/virtio/devices/*/modalias
}
set -- /sys/bus/pci/devices/*
if [ -e "$1" ]; then load_modules; else load_modules & fi   # disks, which are on PCI, are there when a command is

console() {
    while :; do
        setsid -c sh -l <>"/dev/$terminal" >&0 2>&0
        [ "$after" = respawn ] || break
    done
    poweroff
}

# Linux makes ttyS0..3 whether or not there is a UART behind them; type 0 says that there is none.
kind=0
read -r kind 2>/dev/null </sys/class/tty/ttyS3/type
[ "$kind" = 0 ] && mode=alone

. /lib/guesthouse/agent
main() {
    case $mode in
    agent) open_ports; control | work ;;
    alone) console ;;
    *) open_ports; control | work | console ;;  # nothing flows in the last pipe
    esac
    poweroff
}

# busybox's poweroff, reboot and halt signal process 1. What was said on the console leaves it first.
leave() {
    stty -F "/dev/$terminal" sane
    exec "$1" -f
}
trap 'leave poweroff' USR2
trap 'leave reboot' TERM
trap 'leave halt' USR1
trap 'jobs >/dev/null' CHLD     # buries the orphans that process 1 inherits

# <( ) and pipelines, because what a shell starts with `&` ignores SIGINT for good (POSIX, 2.11); and a `read`
# here, because a trap cuts it short, but not the wait for a child in the foreground.
exec 7< <(main)
while :; do read -r line <&7; done
"""

AGENT = r"""# The guest's end of the agent: run by /init, spoken to over three UARTs that are set raw.
# Descriptors: 3 is ttyS3 (control lines), 4 is ttyS1 (stdin and stdout), 5 is ttyS2 (stderr).

open_ports() {
    exec 3<>/dev/ttyS3 4<>/dev/ttyS1 5<>/dev/ttyS2
    for port in 3 4 5; do drain <&$port; done
    echo "ready 1" >&3
}

# stty sets modes with TCSADRAIN: it returns when all that was written has left the UART.
drain() { stty raw -echo -iexten -hupcl 115200; }

# Reads the host's lines; hands those that run something to work, so that it can still hear the others.
control() {
    while read -r verb one two rest <&3; do
        case $verb in
        run) echo "$one $two $rest" ;;
        signal) kill -s "$two" -- "-$one" || kill -s "$two" "$one" ;;
        size) stty -F "/dev/$terminal" rows "$one" cols "$two" ;;
        poweroff | reboot) $verb ;;
        esac 2>/dev/null
    done
}

work() {
    exec 6<&0 >/dev/null 2>&1
    while read -r id mode prepare <&6; do
        case $mode in
        tty) on_terminal ;;
        *) conclude < <(apart) ;;   # not a pipeline: that would wait for both
        esac
    done
}

# Becomes the command, in a session of its own; it inherits none of our descriptors. `prepare` is the host's:
# cd, export, set -- argv. An option for setsid may follow.
launch() {
    read -r self line </proc/self/stat
    echo "start $id $self" >&3
    exec 3>&- 4>&- 5>&- 6>&- 8>&- 9>&-
    option=$1
    eval "$prepare"
    exec /bin/setsid $option -- "$@"
}

on_terminal() {
    (launch -c <>"/dev/$terminal" >&0 2>&0)
    status=$?
    stty -F "/dev/$terminal" sane
    echo "exit $id $status" >&3
}

# Three pipes, for a program that asks must not find terminals: 1 to ttyS1, 8 to ttyS2, 9 to conclude. The
# last is also held by both cats, so that its end says that all output has been passed on.
apart() {
    {
        {
            if [ "$mode" = pipe ]; then
                feed <&4 8>&- 9>&- | { read -r feeder; (launch 2>&8); echo status $? >&9; kill "$feeder"; }
            else
                (launch </dev/null 2>&8); echo status $? >&9
            fi | pass >&4 8>&-
        } 8>&1 | pass >&5
    } 9>&1
}

pass() {
    read -r self line </proc/self/stat
    echo cat "$self" >&9
    exec cat
}

# What a command left running may hold the pipes for ever: once it has ended, a few seconds in which nothing
# is passed on are the end of the listening. However slow the host is, what the command itself wrote arrives.
conclude() {
    status=255 cats= limit= now= quiet=0
    while read -r $limit kind number || moving; do
        case $kind in
        cat) cats="$cats $number" ;;
        status) status=$number limit="-t 1" ;;
        esac
    done
    kill $cats
    drain <&4
    drain <&5
    echo "exit $id $status" >&3
}

# Whether a cat still lives, and bytes have gone through the UARTs in the last four looks, a second apart.
moving() {
    for cat in $cats; do kill -0 "$cat" && break; done || return
    was=$now now=
    while read -r line; do now="$now$line"; done </proc/tty/driver/serial
    if [ "$now" = "$was" ]; then quiet=$((quiet + 1)); else quiet=0; fi
    [ $quiet -lt 4 ]
}

# Standard input comes as chunks, each a line with its length and then the bytes; length 0 is the end. What an
# earlier command left unread lies before the line `stdin ID`. The first line that goes out is our own number.
feed() {
    read -r self line </proc/self/stat
    echo "$self"
    trap 'kill -9 $chunk; exit' TERM
    until [ "$line" = "stdin $id" ]; do read -r line || exit; done
    while read -r size && [ "$size" != 0 ]; do
        dd bs="$size" count=1 iflag=fullblock <&4 2>/dev/null &
        chunk=$!
        wait $chunk
        echo "more $id $size" >&3
    done
}
"""

PROFILE = r"""export PS1='\u@\h:\w\$ '
cd
"""

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/hostname": "guesthouse\n",
    "etc/hosts": "127.0.0.1 localhost guesthouse\n",
    "etc/profile": PROFILE,
    "etc/fstab": "proc /proc proc\nsysfs /sys sysfs\ndev /dev devtmpfs\n",
    "lib/guesthouse/agent": AGENT,
}
