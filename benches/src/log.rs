//! The log of a job: `output.yaml`, one line an event, and `output.idx`.

use crate::calendar::{Moment, digits};
use crate::dice::Dice;
use crate::job::Job;

/// A job's log and where each of its lines begins. Kept by the one who writes
/// many jobs, so that there is one buffer for all.
#[derive(Debug, Default)]
pub struct Log {
    /// `output.yaml`: lines of `- {"dt": …, "lvl": …, "msg": …}`.
    pub text: Vec<u8>,
    /// `output.idx`: the offset of each line, as native 64-bit numbers.
    pub index: Vec<u8>,
}

impl Log {
    /// Replace what is here by the log of a job, so long that text and index
    /// reach `bytes`. What every job has to say is said even if it is longer.
    pub fn write(&mut self, job: &Job, bytes: u64) {
        self.text.clear();
        self.index.clear();
        let cases = job.cases();
        // Results come after the bulk; a line of theirs takes about 160 bytes.
        let room = (bytes as usize).saturating_sub(160 * (2 * cases.len() + TAIL.len()));
        let mut pen = Pen {
            log: self,
            dice: job.dice(6),
            clock: job.start,
            uptime: 0,
            id: u64::from(job.id),
        };
        pen.block("info", PREAMBLE, usize::MAX);
        pen.block("target", U_BOOT, room);
        while pen.written() < room {
            pen.uptime = 0;
            pen.block("target", KERNEL, room);
            pen.block("target", SYSTEMD, room);
            pen.block(
                "feedback",
                &["<LAVA_SIGNAL_STARTRUN 0_smoke %i_1.4.2.4.%n>"],
                room,
            );
            for _ in 0..pen.dice.between(8, 30) {
                let suite = *pen.dice.pick(TESTS);
                for _ in 0..pen.dice.between(4, 25) {
                    pen.subject = format!("{}{:02}", pen.dice.pick(WORDS), pen.dice.between(1, 9));
                    pen.block("target", suite, room);
                }
            }
        }
        for case in &cases {
            let (name, outcome) = (&case.name, case.outcome());
            if case.suite != "lava" {
                let signal = format!("<LAVA_SIGNAL_TESTCASE TEST_CASE_ID={name} RESULT={outcome}>");
                pen.line("target", &signal);
            }
            pen.result(&format!(
                "{{\"case\": \"{name}\", \"definition\": \"{}\", \"result\": \"{outcome}\"}}",
                case.suite
            ));
        }
        pen.block("info", TAIL, usize::MAX);
    }
}

struct Pen<'a> {
    log: &'a mut Log,
    dice: Dice,
    clock: Moment,
    /// Of the board, in microseconds: what the kernel prints.
    uptime: u64,
    id: u64,
    /// A boot looks like the last one on the same board.
    board: u64,
    /// The test that runs.
    subject: String,
}

impl Pen<'_> {
    fn written(&self) -> usize {
        self.log.text.len() + self.log.index.len()
    }

    /// Write lines of one level until there are `room` bytes in all.
    fn block(&mut self, level: &str, lines: &[&str], room: usize) {
        for line in lines {
            if self.written() >= room {
                return;
            }
            self.line(level, line);
        }
    }

    fn begin(&mut self, level: &str) {
        // Serial consoles deliver in bursts.
        self.clock = self.clock.after(if self.dice.chance(30) {
            self.dice.between(300, 90_000)
        } else {
            self.dice.between(40, 400)
        });
        let offset = self.log.text.len() as u64;
        self.log.index.extend_from_slice(&offset.to_ne_bytes());
        let text = &mut self.log.text;
        text.extend_from_slice(b"- {\"dt\": \"");
        self.clock.append_to(text);
        text.extend_from_slice(b"\", \"lvl\": \"");
        text.extend_from_slice(level.as_bytes());
        text.extend_from_slice(b"\", \"msg\": ");
    }

    fn result(&mut self, message: &str) {
        self.begin("results");
        self.log.text.extend_from_slice(message.as_bytes());
        self.log.text.extend_from_slice(b"}\n");
    }

    fn line(&mut self, level: &str, template: &str) {
        self.begin(level);
        self.log.text.push(b'"');
        self.fill(template);
        self.log.text.extend_from_slice(b"\"}\n");
    }

    /// A template is JSON text in which `%` and a letter stand for something
    /// that differs: by job, by board (`b`, `c`, `C`) or by test (`v`).
    fn fill(&mut self, template: &str) {
        let mut parts = template.split('%');
        let text = &mut self.log.text;
        text.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
        for part in parts {
            let (what, rest) = part.split_at(part.len().min(1));
            match what {
                "n" => number(text, self.dice.between(1, 999)),
                "N" => number(text, self.dice.below(100_000)),
                "i" => number(text, self.id),
                "f" => {
                    number(text, self.dice.below(200));
                    text.push(b'.');
                    digits(text, self.dice.below(100), 2);
                }
                "x" => hex(text, self.dice.bits(), 8),
                "p" => {
                    text.extend_from_slice(b"ffff8000");
                    hex(text, self.dice.bits() << 4, 8);
                }
                "b" => hex(text, same(self.board, template, rest.len() as u64 % 16), 8),
                "c" => number(text, same(self.board, template, 0) % 1000),
                "C" => number(text, same(self.board, template, 1) % 100_000),
                "v" => text.extend_from_slice(self.subject.as_bytes()),
                "w" => text.extend_from_slice(self.dice.pick(WORDS).as_bytes()),
                "k" => {
                    self.uptime += if self.dice.chance(40) {
                        0
                    } else {
                        self.dice.below(30_000)
                    };
                    let width = text.len() + 5;
                    let start = text.len();
                    number(text, self.uptime / 1_000_000);
                    // The kernel sets seconds flush right.
                    while text.len() < width {
                        text.insert(start, b' ');
                    }
                    text.push(b'.');
                    digits(text, self.uptime, 6);
                }
                // Two in a row, or the last of the line.
                "" => text.push(b'%'),
                other => text.extend_from_slice(other.as_bytes()),
            }
            text.extend_from_slice(rest.as_bytes());
        }
    }
}

/// A number that a board always has at the same place.
fn same(board: u64, template: &str, place: u64) -> u64 {
    Dice::new(board, template.len() as u64 * 16 + place).bits()
}

fn number(text: &mut Vec<u8>, number: u64) {
    digits(
        text,
        number,
        number.checked_ilog10().unwrap_or(0) as usize + 1,
    );
}

fn hex(text: &mut Vec<u8>, bits: u64, width: u32) {
    for place in (0..width).rev() {
        text.push(b"0123456789abcdef"[(bits >> (4 * place) & 15) as usize]);
    }
}

/// What the dispatcher says before the board is on.
const PREAMBLE: &[&str] = &[
    "lava-dispatcher, installed at version: 2023.01",
    "start: 0 validate",
    "Start time: 2023-05-%n (UTC)",
    "Using caching service: 'https://cache.lab.test/api/v1/fetch?url=%x'",
    "Validating that https://images.lab.test/%N/Image.gz exists",
    "Validating that https://images.lab.test/%N/board.dtb exists",
    "validate duration: %f",
    "start: 1 tftp-deploy (timeout 00:10:00) [common]",
    "start: 1.1 download-retry (timeout 00:10:00) [common]",
    "downloading https://images.lab.test/%N/Image.gz",
    "saving as /var/lib/lava/dispatcher/tmp/%i/tftp-deploy-%x/kernel/Image",
    "total size: %N%n (%n MB)",
    "progress   0 %% (0 MB)",
    "progress  25 %% (%n MB)",
    "progress  50 %% (%n MB)",
    "progress  75 %% (%n MB)",
    "progress 100 %% (%n MB)",
    "%n MB downloaded in %fs (%f MB/s)",
    "end: 1.1 download-retry (duration 00:00:%n) [common]",
    "Using /var/lib/lava/dispatcher/tmp/%i/lava-overlay-%x",
    "overlay: /var/lib/lava/dispatcher/tmp/%i/compress-overlay-%x/overlay-1.2.tar.gz",
    "Nice: the board's name is « %w ⚡ » and its serial is \\\"%x\\\"",
    "end: 1 tftp-deploy (duration 00:00:%n) [common]",
    "start: 2 uboot-action (timeout 00:05:00) [common]",
    "Calling: 'nice' 'pdu-control' '--port' '%n' '--command' 'reboot'",
];

/// The boot loader.
const U_BOOT: &[&str] = &[
    "U-Boot SPL 2022.10+dfsg-2 (Oct 20 2022 - 04:31:49 +0000)",
    "Trying to boot from MMC1",
    "U-Boot 2022.10+dfsg-2 (Oct 20 2022 - 04:31:49 +0000), Build: jenkins-%c",
    "CPU  : AM335X-GP rev 2.1",
    "Model: Lab Board Rev %c",
    "DRAM:  512 MiB",
    "Core:  161 devices, 18 uclasses, devicetree: separate",
    "WDT:   Started wdt@44e35000 with servicing (60s timeout)",
    "NAND:  0 MiB",
    "MMC:   OMAP SD/MMC: 0, OMAP SD/MMC: 1",
    "Loading Environment from FAT... Unable to read \\\"uboot.env\\\" from mmc0:1...",
    "Net:   eth2: ethernet@4a100000, eth3: usb_ether",
    "Hit any key to stop autoboot:  2",
    "=> ",
    "=> setenv autoload no",
    "=> setenv initrd_high 0xffffffff",
    "=> dhcp",
    "link up on port 0, speed 100, full duplex",
    "BOOTP broadcast 1",
    "DHCP client bound to address 192.0.2.%n (%n ms)",
    "=> tftp 0x82000000 %i/tftp-deploy-%x/kernel/zImage",
    "Using ethernet@4a100000 device",
    "TFTP from server 192.0.2.1; our IP address is 192.0.2.%c",
    "Filename '%i/tftp-deploy-%x/kernel/zImage'.",
    "Load address: 0x82000000",
    "Loading: #################################################################",
    "\\t #################################################################",
    "\\t ##############################",
    "\\t %f MiB/s",
    "done",
    "Bytes transferred = %N%n (%x hex)",
    "=> bootz 0x82000000 - 0x88000000",
    "Kernel image @ 0x82000000 [ 0x000000 - 0x%b ]",
    "## Flattened Device Tree blob at 88000000",
    "   Loading Device Tree to 8fff%c, end 8ffff%c ... OK",
    "Starting kernel ...",
];

/// The kernel from its first line to its first process.
const KERNEL: &[&str] = &[
    "[%k] Booting Linux on physical CPU 0x0000000000 [0x410fd034]",
    "[%k] Linux version 6.1.%c-lab (builder@lab.test) (aarch64-linux-gnu-gcc (Debian 12.2.0-14) 12.2.0) #%c SMP PREEMPT",
    "[%k] Machine model: Lab Board Rev %c",
    "[%k] earlycon: ns16550a0 at MMIO32 0x%b (options '115200n8')",
    "[%k] efi: UEFI not found.",
    "[%k] Reserved memory: created CMA memory pool at 0x%b, size 64 MiB",
    "[%k] OF: reserved mem: initialized node linux,cma, compatible id shared-dma-pool",
    "[%k] NUMA: NODE_DATA [mem 0x%b-0x%b]",
    "[%k] Zone ranges:",
    "[%k]   DMA      [mem 0x0000000040000000-0x00000000ffffffff]",
    "[%k]   Normal   [mem 0x0000000100000000-0x%p]",
    "[%k] psci: probing for conduit method from DT.",
    "[%k] psci: PSCIv1.1 detected in firmware.",
    "[%k] percpu: Embedded 20 pages/cpu s%N r8192 d%N u81920",
    "[%k] Detected VIPT I-cache on CPU0",
    "[%k] CPU features: detected: GIC system register CPU interface",
    "[%k] CPU features: detected: ARM erratum 845719",
    "[%k] alternatives: applying boot alternatives",
    "[%k] Kernel command line: console=ttyS0,115200n8 root=/dev/nfs rw nfsroot=192.0.2.1:/var/lib/lava/dispatcher/tmp/%i/extract-nfsrootfs-%x,tcp,hard ip=dhcp",
    "[%k] Dentry cache hash table entries: 524288 (order: 10, 4194304 bytes, linear)",
    "[%k] Inode-cache hash table entries: 262144 (order: 9, 2097152 bytes, linear)",
    "[%k] mem auto-init: stack:all(zero), heap alloc:off, heap free:off",
    "[%k] software IO TLB: mapped [mem 0x%b-0x%b] (64MB)",
    "[%k] Memory: %C%cK/4194304K available (%CK kernel code, %CK rwdata, %CK rodata, 8512K init, 619K bss, %CK reserved)",
    "[%k] SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs=4, Nodes=1",
    "[%k] rcu: Preemptible hierarchical RCU implementation.",
    "[%k] rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.",
    "[%k] GICv3: %c SPIs implemented",
    "[%k] GICv3: CPU0: found redistributor 0 region 0:0x%p",
    "[%k] arch_timer: cp15 timer(s) running at 8.00MHz (phys).",
    "[%k] sched_clock: 56 bits at 8MHz, resolution 125ns, wraps every 2199023255500ns",
    "[%k] Calibrating delay loop (skipped), value calculated using timer frequency.. 16.00 BogoMIPS (lpj=%C)",
    "[%k] Mount-cache hash table entries: 8192 (order: 4, 65536 bytes, linear)",
    "[%k] smp: Bringing up secondary CPUs ...",
    "[%k] CPU1: Booted secondary processor 0x0000000001 [0x410fd034]",
    "[%k] CPU2: Booted secondary processor 0x0000000002 [0x410fd034]",
    "[%k] CPU3: Booted secondary processor 0x0000000003 [0x410fd034]",
    "[%k] smp: Brought up 1 node, 4 CPUs",
    "[%k] devtmpfs: initialized",
    "[%k] pinctrl core: initialized pinctrl subsystem",
    "[%k] NET: Registered PF_NETLINK/PF_ROUTE protocol family",
    "[%k] DMA: preallocated 512 KiB GFP_KERNEL pool for atomic allocations",
    "[%k] audit: type=2000 audit(%n.%n:1): state=initialized audit_enabled=0 res=1",
    "[%k] thermal_sys: Registered thermal governor 'step_wise'",
    "[%k] hw-breakpoint: found 6 breakpoint and 4 watchpoint registers.",
    "[%k] ASID allocator initialised with %C entries",
    "[%k] KASLR disabled due to lack of seed",
    "[%k] HugeTLB: registered 2.00 MiB page size, pre-allocated 0 pages",
    "[%k] iommu: Default domain type: Translated",
    "[%k] SCSI subsystem initialized",
    "[%k] usbcore: registered new interface driver usbfs",
    "[%k] usbcore: registered new device driver usb",
    "[%k] pps_core: LinuxPPS API ver. 1 registered",
    "[%k] clocksource: Switched to clocksource arch_sys_counter",
    "[%k] VFS: Disk quotas dquot_6.6.0",
    "[%k] NET: Registered PF_INET protocol family",
    "[%k] TCP: Hash tables configured (established %C bind %C)",
    "[%k] RPC: Registered named UNIX socket transport module.",
    "[%k] RPC: Registered tcp NFSv4.1 backchannel transport module.",
    "[%k] PCI: CLS 0 bytes, default 64",
    "[%k] workingset: timestamp_bits=42 max_order=20 bucket_order=0",
    "[%k] squashfs: version 4.0 (2009/01/31) Phillip Lougher",
    "[%k] NFS: Registering the id_resolver key type",
    "[%k] io scheduler mq-deadline registered",
    "[%k] %b.serial: ttyS0 at MMIO 0x%b (irq = %c, base_baud = 1500000) is a 16550A",
    "[%k] printk: console [ttyS0] enabled",
    "[%k] mmc0: SDHCI controller on %b.mmc [%b.mmc] using ADMA 64-bit",
    "[%k] mmc0: new HS400 Enhanced strobe MMC card at address 0001",
    "[%k] mmcblk0: mmc0:0001 DG4016 14.7 GiB",
    "[%k]  mmcblk0: p1 p2 p3 p4",
    "[%k] dwmac-sun8i %b.ethernet: IRQ eth_wake_irq not found",
    "[%k] dwmac-sun8i %b.ethernet eth0: PHY [stmmac-0:07] driver [RTL8211E Gigabit Ethernet] (irq=POLL)",
    "[%k] xhci-hcd xhci-hcd.%n.auto: irq %n, io mem 0x%x",
    "[%k] hub 1-0:1.0: USB hub found",
    "[%k] usb 1-1: new high-speed USB device number %n using xhci-hcd",
    "[%k] i2c_dev: i2c /dev entries driver",
    "[%k] rtc-ds1307 0-0068: setting system clock to 2023-05-%nT%n UTC (%N%N)",
    "[%k] sdhci: Secure Digital Host Controller Interface driver",
    "[%k] ledtrig-cpu: registered to indicate activity on CPUs",
    "[%k] hid: raw HID events driver (C) Jiri Kosina",
    "[%k] NET: Registered PF_INET6 protocol family",
    "[%k] Segment Routing with IPv6",
    "[%k] Loading compiled-in X.509 certificates",
    "[%k] Loaded X.509 cert 'Build time autogenerated kernel key: %b%b%b%b%b'",
    "[%k] random: crng init done",
    "[%k] cfg80211: Loading compiled-in X.509 certificates for regulatory database",
    "[%k] eth0: Link is Up - 1Gbps/Full - flow control rx/tx",
    "[%k] IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready",
    "[%k] IP-Config: Got DHCP answer from 192.0.2.1, my address is 192.0.2.%n",
    "[%k] ALSA device list:",
    "[%k]   No soundcards found.",
    "[%k] VFS: Mounted root (nfs filesystem) on device 0:%c.",
    "[%k] Freeing unused kernel memory: %NK",
    "[%k] Run /sbin/init as init process",
    "[%k] ------------[ cut here ]------------",
    "[%k] WARNING: CPU: 2 PID: %n at drivers/base/%w.c:%n %w_probe+0x%x/0x%x",
    "[%k] pc : %w_probe+0x%b/0x%b",
    "[%k] lr : really_probe+0x%b/0x%b",
    "[%k] x29: %p x28: %p x27: 0000000000000000",
    "[%k] x26: %p x25: %p x24: %p",
    "[%k] x23: 0000000000000000 x22: %p x21: %p",
    "[%k] ---[ end trace %x%x ]---",
];

/// From the first process to the prompt.
const SYSTEMD: &[&str] = &[
    "systemd[1]: systemd 252.6-1 running in system mode (+PAM +AUDIT +SELINUX +APPARMOR +IMA +SMACK +SECCOMP +GCRYPT -GNUTLS +OPENSSL)",
    "systemd[1]: Detected architecture arm64.",
    "Welcome to Debian GNU/Linux 12 (bookworm)!",
    "[  OK  ] Created slice system-getty.slice - Slice /system/getty.",
    "[  OK  ] Created slice system-modprobe.slice - Slice /system/modprobe.",
    "[  OK  ] Reached target cryptsetup.target - Local Encrypted Volumes.",
    "[  OK  ] Listening on systemd-journald.socket - Journal Socket.",
    "         Mounting dev-hugepages.mount - Huge Pages File System...",
    "         Starting systemd-udevd.service - Rule-based Manager for Device Events and Files...",
    "[  OK  ] Started systemd-journald.service - Journal Service.",
    "[  OK  ] Finished systemd-sysctl.service - Apply Kernel Variables (%f s).",
    "[%k] systemd-journald[%n]: Received client request to flush runtime journal.",
    "[%k] audit: type=1400 audit(16854%n.%n:%n): apparmor=\\\"STATUS\\\" operation=\\\"profile_load\\\" name=\\\"%w\\\" pid=%n comm=\\\"apparmor_parser\\\"",
    "[  OK  ] Found device dev-ttyS0.device - /dev/ttyS0.",
    "systemd[1]: Réseau prêt après %N µs ✓",
    "[FAILED] Failed to start %w.service.",
    "[  OK  ] Reached target multi-user.target - Multi-User System.",
    "Debian GNU/Linux 12 board-%c ttyS0",
    "board-%c login: root (automatic login)",
    "Linux board-%c 6.1.0-%c-arm64 #1 SMP Debian 6.1.27-1 (2023-05-08) aarch64",
    "root@board:~# ",
];

/// Tests that run over and over: the bulk of a long log.
const TESTS: &[&[&str]] = &[
    &[
        "<<<test_start>>>",
        "tag=%v stime=16854%N",
        "cmdline=\\\"%v\\\"",
        "contacts=\\\"\\\"",
        "analysis=exit",
        "<<<test_output>>>",
        "tst_test.c:1560: TINFO: Timeout per run is 0h 05m 00s",
        "%v.c:%n: TPASS: %v() returned 0 as expected",
        "%v.c:%n: TPASS: %v() failed with EINVAL (22)",
        "Summary:",
        "passed   2",
        "failed   0",
        "<<<execution_status>>>",
        "initiation_status=\\\"ok\\\"",
        "duration=%n termination_type=exited termination_id=0 corefile=no",
        "cutime=%n cstime=0",
        "<<<test_end>>>",
    ],
    &[
        "# selftests: net: %v",
        "# ok %n %v.sh # elapsed %f s",
        "# PASS: %v on eth0 -> 2001:db8::%x, rtt %f ms",
        "not ok %n selftests: net: %v # exit=%n",
    ],
    &[
        "T: 0 (%N) P:98 I:1000 C: %N Min:      %n Act:   %n Avg:   %n Max:    %N",
        "T: 1 (%N) P:98 I:1500 C: %N Min:      %n Act:   %n Avg:   %n Max:    %N",
    ],
    &[
        "IGT-Version: 1.27.1 (aarch64) (Linux: 6.1.%c-lab aarch64)",
        "Starting subtest: %v-basic",
        "Subtest %v-basic: SUCCESS (%fs)",
        "[%k] Console: switching to colour dummy device 80x25",
        "[%k] [IGT] %v: executing",
        "[%k] [IGT] %v: exiting, ret=%n",
    ],
    &[
        "+ dd if=/dev/urandom of=/tmp/%v bs=1M count=16",
        "16+0 records in",
        "16+0 records out",
        "16777216 bytes (16.8 MB) copied, %f s, %f MB/s",
        "%x%x%x%x%x%x%x%x  /tmp/%v",
    ],
    &[
        "[%k] usb 1-1.%c: new full-speed USB device number %n using xhci-hcd",
        "[%k] usb 1-1.%c: New USB device found, idVendor=0403, idProduct=6001, bcdDevice= 6.00",
        "[%k] usb 1-1.%c: SerialNumber: %b",
        "[%k] ftdi_sio 1-1.%c:1.0: FTDI USB Serial Device converter detected",
        "[%k] usb 1-1.%c: USB disconnect, device number %n",
    ],
];

/// What the dispatcher says when the board is off.
const TAIL: &[&str] = &[
    "end: 3 lava-test-retry (duration 00:0%n) [common]",
    "start: 4 finalize (timeout 00:10:00) [common]",
    "Calling: 'nice' 'pdu-control' '--port' '%n' '--command' 'off'",
    "Returned 0 in %f seconds",
    "Cleaning after the job",
    "Cleaning up download directory: /var/lib/lava/dispatcher/tmp/%i/tftp-deploy-%x/kernel",
    "Override tmp directory removed at /var/lib/lava/dispatcher/tmp/%i",
    "Job finished correctly",
];

/// Names of things under test.
const WORDS: &[&str] = &[
    "accept",
    "access",
    "acct",
    "add_key",
    "adjtimex",
    "alarm",
    "bind",
    "bpf",
    "brk",
    "cacheflush",
    "capget",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "clock_gettime",
    "clone",
    "close",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "epoll_ctl",
    "eventfd",
    "execve",
    "exit",
    "faccessat",
    "fadvise",
    "fallocate",
    "fanotify",
    "fchmod",
    "fcntl",
    "fdatasync",
    "flock",
    "fork",
    "fstat",
    "fsync",
    "ftruncate",
    "futex",
    "getcpu",
    "getcwd",
    "getdents",
    "getegid",
    "getitimer",
    "getpid",
    "getrandom",
    "getrusage",
    "inotify",
    "io_submit",
    "io_uring",
    "ioctl",
    "kcmp",
    "kill",
    "lchown",
    "link",
    "listen",
    "llseek",
    "madvise",
    "mbind",
    "membarrier",
    "memfd",
    "mincore",
    "mkdir",
    "mlock",
    "mmap",
    "mount",
    "mprotect",
    "mremap",
    "msync",
    "munmap",
    "nanosleep",
    "open",
    "openat",
    "pause",
    "perf_event",
    "pipe",
    "pivot_root",
    "poll",
    "prctl",
    "pread",
    "ptrace",
    "pwrite",
    "quotactl",
    "read",
    "readahead",
    "readlink",
    "recvmsg",
    "rename",
    "rmdir",
    "sched_yield",
    "select",
    "semctl",
    "sendfile",
    "setns",
    "setpgid",
    "shmat",
    "sigaction",
    "socket",
    "splice",
    "statx",
    "swapon",
    "symlink",
    "sync",
    "tee",
    "timerfd",
    "truncate",
    "umask",
    "unlink",
    "unshare",
    "utime",
    "vmsplice",
    "wait4",
    "write",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Lab;

    fn log(lab: &Lab, id: u32, bytes: u64) -> Log {
        let mut log = Log::default();
        log.write(&lab.job(id), bytes);
        log
    }

    #[test]
    fn every_line_is_an_event_and_the_index_finds_it() {
        let lab = Lab {
            jobs: 20,
            ..Lab::default()
        };
        let log = log(&lab, 3, 200_000);
        let text = std::str::from_utf8(&log.text).unwrap();
        let mut offset = 0;
        let mut last = String::new();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let at = u64::from_ne_bytes(log.index[8 * number..8 * number + 8].try_into().unwrap());
            assert_eq!(at, offset, "line {number}");
            offset += line.len() as u64;
            let event: serde_json::Value =
                serde_json::from_str(line.trim_end().strip_prefix("- ").unwrap()).unwrap();
            let when = event["dt"].as_str().unwrap();
            assert!(
                event["lvl"].is_string() && !event["msg"].is_null() && last.as_str() < when,
                "{line}"
            );
            last = when.into();
        }
        assert_eq!(offset, log.text.len() as u64);
        assert!(text.contains("µs ✓") && text.contains("[    0.") && !text.contains("%n"));
    }

    #[test]
    fn a_log_is_as_long_as_it_should_be() {
        let lab = Lab {
            jobs: 20,
            ..Lab::default()
        };
        for bytes in [20_000, 100_000, 1_000_000] {
            let log = log(&lab, 5, bytes);
            let got = (log.text.len() + log.index.len()) as u64;
            assert!(got.abs_diff(bytes) < 4000, "{bytes}: {got}");
        }
    }

    #[test]
    fn a_log_names_every_case_of_its_job() {
        let lab = Lab {
            jobs: 20,
            ..Lab::default()
        };
        let text = String::from_utf8(log(&lab, 7, 0).text).unwrap();
        for case in lab.job(7).cases() {
            assert!(text.contains(&format!(
                "{{\"case\": \"{}\", \"definition\": \"{}\"",
                case.name, case.suite
            )));
        }
    }
}
