"""Record a store as the artstore that is installed makes it: `python -m tests.lifecycle.record_store FILE.zip`."""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from pathlib import Path

from artstore.store import Store


def main() -> None:
    """Write the recording."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "store")
        with Store.init(root) as store:
            store.start_run(id="training", project="p")
            for text in ("one", "two", "three"):
                store.put(
                    [io.BytesIO(text.encode())], name="cats", type="dataset", project="p", prefix="f", run="training"
                )
            store.tag("p/cats:v0", ["reviewed"])
            store.alias("p/cats:v1", ["best"])
            store.set_metadata("p/cats:v1", {"loss": 0.5})
            store.finish_run("training", project="p")
        with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as recording:
            for path in sorted(root.rglob("*")):
                # The reserve holds nothing.
                if path.parent.name != "reserve":
                    recording.write(path, path.relative_to(root))


if __name__ == "__main__":
    main()
