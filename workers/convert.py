"""Converts a GGUF file into the folder that `from_pretrained` and vLLM read: `python -m workers.convert FILE FOLDER`.

A program of its own, because PyTorch's memory and the environment it wants are not for the process that asks.
"""

import sys
from pathlib import Path

VERSION = 1
"""Raise it when `convert` writes something else: what an older version wrote is then converted anew."""


def convert(source: Path, target: Path) -> None:
    """Writes bf16 safetensors, configuration, tokenizer and chat template. Raises OSError when the disk is full."""
    import torch
    import transformers

    folder, gguf = str(source.parent), source.name
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=gguf,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),  # packed weights cannot be saved
    )
    model.save_pretrained(target)
    transformers.AutoTokenizer.from_pretrained(folder, gguf_file=gguf).save_pretrained(target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
