"""Profiles from the Scission tables: 18 ImageNet models measured on a Raspberry Pi 4 and four larger machines.

Lockhart et al., "Scission: Performance-driven and Context-aware Cloud-Edge Distribution of Deep Neural Networks",
UCC 2020. The table is not shipped; it is read from the data folder. These networks have one exit, so they are for
studying partition points. The table has no accuracies: the exit's is set to 1, which makes on-time accuracy the
share of tasks on time.
"""

from __future__ import annotations

from pathlib import Path

from hasten.core.archives import find_recording, read_recording
from hasten.core.errors import InputError
from hasten.core.files import about_data_folder, validated
from hasten.core.profile import Profile
from hasten.core.tables import Text

TABLE = Path("latency") / "scission" / "scission_segments.csv"
HEADER_BYTES = 128
FLOAT32_BYTES = 4
IMAGE_BYTES = 224 * 224 * 3
MODEL, DEVICE, EDGE = "mobilenetv2", "device-raspi4", "edge-2500"


def scission_profile(name: str, data: Path | None) -> Profile:
    """Build the profile ``MODEL[:DEVICE[:EDGE]]`` from the table in the data folder, with one byte per value sent.

    Raises:
        InputError: the table is absent, or the model or a machine is not in it.
    """
    model, device, edge = ([*name.split(":"), "", ""])[:3]
    device, edge = device or DEVICE, edge or EDGE
    rows = _read_table(data)
    columns: dict[str, list[dict[str, str]]] = {}
    for machine in (device, edge):
        columns[machine] = [row for row in rows if row["device"] == machine and row["model"] == model]
        if not columns[machine]:
            machines, models = sorted({r["device"] for r in rows}), sorted({r["model"] for r in rows})
            expected = (
                f"MODEL[:DEVICE[:EDGE]] with a model of {', '.join(models)} and machines of {', '.join(machines)}"
            )
            raise InputError("profile", "scission", name, expected)
    try:
        blocks = tuple(
            {
                "name": f"segment{row['segment']}",
                "device_ms": 1000.0 * float(row["latency_s"]),
                "edge_ms": 1000.0 * float(other["latency_s"]),
                "output_bytes": (int(row["output_bytes_with_128B_header"]) - HEADER_BYTES) // FLOAT32_BYTES,
            }
            for row, other in zip(columns[device], columns[edge], strict=True)
        )
    except (KeyError, TypeError, ValueError) as error:
        expected = f"rows with a time and a size, as many on both machines ({error})"
        raise InputError(TABLE.name, model, f"{device}, {edge}", expected) from None
    head = {"name": "output", "after_block": len(blocks), "accuracy": 1.0, "device_ms": 0.0, "edge_ms": 0.0}
    source = (
        f"Scission (UCC 2020): {model}, device {device}, edge {edge}, batch 1; one exit, accuracy unknown and set "
        "to 1; sizes at one byte per value; input 224 x 224 x 3 bytes"
    )
    profile = {
        "schema": "hasten.profile/1",
        "name": f"scission:{model}:{device}:{edge}",
        "source": source,
        "input_bytes": IMAGE_BYTES,
        "blocks": blocks,
        "exits": (head,),
    }
    return validated(Profile, profile, TABLE.name)


def _read_table(data: Path | None) -> list[dict[str, str]]:
    for name in (TABLE, TABLE.with_suffix(".csv.gz")) if data else ():
        if data is not None and (data / name).is_file():
            table = Text(str(name), read_recording(find_recording(str(name), data))).table()
            return [dict(zip(table.columns, row, strict=False)) for _, row in table.rows]
    expected = f"the Scission table in the data folder ({about_data_folder()})"
    raise InputError("profile", "scission", str(TABLE), expected)
