"""A Jetson Orin as files under a folder, its two commands as scripts; the values are made up."""

MODEL = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
RELEASE = "R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64"
RAILS = {"VDD_IN": (5000, 1000), "VDD_CPU_GPU_CV": (5000, 300), "VDD_SOC": (4900, 200)}
"""mV and mA."""
GPU = "17000000.gpu"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_orin(root):
    """JetPack 6's layout."""
    write(root / "proc/device-tree/model", MODEL + "\0")
    write(root / "etc/nv_tegra_release", f"# {RELEASE}\n# KERNEL_VARIANT: oot\n")
    for number, (zone, temperature) in enumerate((("cpu", 48_500), ("gpu", 47_250))):
        folder = root / f"sys/class/thermal/thermal_zone{number}"
        write(folder / "type", f"{zone}-thermal\n")
        write(folder / "temp", f"{temperature}\n")
    clocks = root / "sys/class/devfreq"
    for device, frequencies in ((GPU, (306, 306, 1020)), ("15340000.vic", (1, 2, 3))):
        for which, megahertz in zip(("cur", "min", "max"), frequencies, strict=True):
            write(clocks / device / f"{which}_freq", f"{megahertz}000000\n")
    hwmon = root / "sys/class/hwmon"
    write(hwmon / "hwmon0/name", "pwmfan\n")
    write(hwmon / "hwmon0/in1_input", "7\n")
    write(hwmon / "hwmon1/name", "ina3221\n")
    for n, (name, (voltage, current)) in enumerate(RAILS.items(), 1):
        write(hwmon / f"hwmon1/in{n}_label", f"{name}\n")
        write(hwmon / f"hwmon1/in{n}_input", f"{voltage}\n")
        write(hwmon / f"hwmon1/curr{n}_input", f"{current}\n")
    write(hwmon / "hwmon1/in7_label", "Sum of shunt voltages\n")
    write(hwmon / "hwmon1/in7_input", "99\n")
    return root


def write_command(folder, name, script):
    """Needs /bin/sh and nothing of PATH."""
    write(folder / name, f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def write_commands(folder):
    write_command(
        folder,
        "nvpmodel",
        '[ "$1" = -q ] || exit 9\n'
        'echo "NVPM WARN: fan mode is not set!"; echo "NV Power Mode: MAXN_SUPER"; echo 2',
    )
    write_command(
        folder,
        "jetson_clocks",
        '[ "$1" = --show ] || exit 9\necho "SOC family:tegra234"; echo "Online CPUs: 0-5"',
    )
    return folder
