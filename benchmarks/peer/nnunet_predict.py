"""Predicts one scan with the untrained net of nnU-Net's plans. Runs with the Python of nnU-Net's environment.

    python nnunet_predict.py PREPROCESSED_DATASET SCAN OUTPUT [--tiles=N]

The last output line is JSON: `patch`, the tile's shape, and `seconds`, a list with the seconds of the prediction, or,
with --tiles, of each of that many tiles.
"""

import argparse
import json
import os
import pathlib
import time

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

FOREGROUND = 3  # background, kidney, tumor


def main():
    parser = argparse.ArgumentParser()
    for name in ("dataset", "scan", "output"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--tiles", type=int)
    given = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    plans = PlansManager(str(given.dataset / "nnUNetPlans.json"))
    settings = plans.get_configuration("3d_fullres")
    description = json.loads((given.dataset / "dataset.json").read_text())
    network = get_network_from_plans(
        settings.network_arch_class_name, settings.network_arch_init_kwargs,
        settings.network_arch_init_kwargs_req_import, 1, FOREGROUND, allow_init=True, deep_supervision=False)
    predictor = nnUNetPredictor(use_gaussian=True, use_mirroring=False, perform_everything_on_device=False,
                                device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(network, plans, settings, [network.state_dict()], description, "nnUNetTrainer",
                                    None)
    network.eval()
    patch = list(settings.patch_size)
    if given.tiles:
        image = torch.rand((1, 1, *patch))
        seconds = []
        with torch.no_grad():
            for _ in range(given.tiles + 1):
                began = time.perf_counter()
                network(image)
                seconds.append(time.perf_counter() - began)
        print(json.dumps({"patch": patch, "seconds": seconds[1:]}))
        return
    began = time.perf_counter()
    predictor.predict_from_files([[str(given.scan)]], [str(given.output)], save_probabilities=False, overwrite=True,
                                 num_processes_preprocessing=1, num_processes_segmentation_export=1)
    print(json.dumps({"patch": patch, "seconds": [time.perf_counter() - began]}))


if __name__ == "__main__":
    main()
