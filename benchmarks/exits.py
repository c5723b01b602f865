"""What each exit of the default networks is worth: accuracy, calibration, compute and bytes at the cut behind it.

    python benchmarks/exits.py [--data digits|cifar10] [--quick] [--seed N]

Builds the package (or takes it from the cache) and prints one row per exit, measured on the held-out test images.
"""

import argparse
import time

import numpy as np

from hasten.core.files import data_folder
from hasten.networks.calibrate import calibration_error
from hasten.networks.data import load_dataset
from hasten.networks.default import build_default
from hasten.split.executor import Executor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "cifar10"), default="digits")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.data == "cifar10" and data_folder() is None:
        print("skipped: CIFAR-10 needs HASTEN_DATA")
        return
    wall, cpu = time.perf_counter(), time.process_time()
    package = build_default(arguments.data, quick=arguments.quick, seed=arguments.seed)
    print(f"ready in {time.perf_counter() - wall:.0f} s wall, {time.process_time() - cpu:.0f} s of processor time")
    dataset = load_dataset(arguments.data, arguments.seed).first(1, 1000)
    executor = Executor(package)
    print(f"{'exit':<10}{'block':>6}{'accuracy':>10}{'codec':>8}{'error of confidence':>21}{'cut bytes':>11}")
    for number, exit_ in enumerate(package.manifest.exits, start=1):
        logits = np.stack([executor.finish(0, number, [image[None]]) for image in dataset.test_x])
        gap = calibration_error(logits.reshape(len(logits), -1).astype(np.float64), dataset.test_y)
        cut = package.profile.payload_bytes(exit_.after_block)
        codec = float(np.min(exit_.accuracy_with_codec))
        print(f"{exit_.name:<10}{exit_.after_block:>6}{exit_.accuracy:>10.3f}{codec:>8.3f}{gap:>21.3f}{cut:>11}")
    print(f"frame: {package.profile.input_bytes} bytes on the wire")


if __name__ == "__main__":
    main()
