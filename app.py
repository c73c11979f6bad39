"""The page: `python app.py`, then open the printed address. HOST and PORT move it."""

import os

from t2i.machine import use_cores
from t2i.ui import GUARD, LOOK, create_demo

use_cores()
demo = create_demo()

if __name__ == "__main__":
    demo.launch(
        server_name=os.environ.get("HOST"),
        server_port=int(os.environ["PORT"]) if "PORT" in os.environ else None,
        **LOOK,
        **GUARD,
    )
