"""The page: `python app.py`, then open the printed address. HOST and PORT move it."""

import os

import torch

from t2i.machine import usable_cores
from t2i.ui import GUARD, LOOK, create_demo

# The application owns the machine, so it sets the threads; the library never does.
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(usable_cores())

demo = create_demo()

if __name__ == "__main__":
    demo.launch(
        server_name=os.environ.get("HOST"),
        server_port=int(os.environ["PORT"]) if "PORT" in os.environ else None,
        **LOOK,
        **GUARD,
    )
