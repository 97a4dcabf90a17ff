"""Save the pictures of the window that the documents show, from the window as it is now.

sh scripts/xvfb.sh python scripts/document_pictures.py --out docs/images
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from screenshots import PAGES, SIZES, Session, look, wait

PICTURES = {"label": "annotate-tiles", "train": "train", "map": "classify-field", "check": "check"}
_DOCKED = (1300, 860)


class Pictures:
    """A session whose project is labelled and trained on, and where its pictures go.

    Parameters
    ----------
    session
        The window.
    out
        Folder of the pictures.
    """

    def __init__(self, session: Session, out: Path) -> None:
        self.session, self.out = session, out
        self.viewer, self.folder = session.viewer, session.folder

    def pages(self) -> None:
        """Save the pages of the dock Cell Class."""
        self.session.window.resize(*SIZES["1600x1200"])
        look(6)  # the map that follows the training
        for name, page in PAGES.items():
            self.session.dock.show_page(page)
            self.viewer.reset_view()
            look(1.5)
            self._save_window(PICTURES[name])

    def prepare(self) -> None:
        """Save the dock Prepare tiles over a field with its grid."""
        self._open("Prepare tiles")
        look(2)
        self._save_window("prepare-tiles")

    def plate(self) -> None:
        """Classify the fields of the project as a plate, and save dock and field."""
        widget = self._open("Classify plate")
        for path in sorted(self.folder.glob("slide*.tif")):
            widget.sources.add(path)
        widget.set_model(self.session.dock.map.model.path)
        widget.set_out(self.folder / "maps")
        widget.run_button.click()
        wait(lambda: not widget.panel.running and (self.folder / "maps" / "fields.csv").is_file())
        look(3)
        self._save_window("classify-plate")

    def evaluate(self) -> None:
        """Evaluate the model on the labels of the project, and save the window of results."""
        widget = self._open("Evaluate")
        widget.set_model(self.session.dock.map.model.path)
        widget.sets.add(self.folder / "slides.cellproject")
        wait(lambda: widget.run_button.isEnabled() and not widget.panel.running)
        look(3)
        widget.run_button.click()
        wait(lambda: not widget.panel.running)
        print(widget.panel.message.text(), flush=True)
        self._save_results(widget, "evaluate")

    def experiment(self) -> None:
        """Repeat trainings on a plate that can be learned, and save the window of results."""
        from napari_cellclass.core.samples.synthetic import separable_plate, write_plate

        write_plate(self.folder / "plate", separable_plate(1))
        widget = self._open("Experiment")
        widget.data.from_folders.click()
        widget.data.folder.value = self.folder / "plate"
        widget.data.cutting.fields["tile_px"].value = 64
        widget.compared.fields["runs"].value = 2
        widget.out.value = self.folder / "experiment"
        widget.pair_button.click()
        wait(lambda: not widget.panel.running)
        print(widget.panel.message.text(), flush=True)
        self._save_results(widget, "experiment")

    def _open(self, name: str) -> Any:
        self.session.window.resize(*_DOCKED)
        widget = self.viewer.window.add_plugin_dock_widget("napari-cellclass", name, tabify=True)[1]
        look(1)
        widget.parent().raise_()
        return widget

    def _save_window(self, name: str) -> None:
        self._save(self.viewer.screenshot(canvas_only=False, flash=False)[..., :3], name)

    def _save_results(self, widget: Any, name: str) -> None:
        window = widget.window_of_results
        window.resize(1280, 860)
        look(4)
        path = self.out / f"{name}.png"
        window.grab().save(str(path))
        self._save(Image.open(path).convert("RGB"), name)

    def _save(self, pixels: Any, name: str) -> None:
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(self.out / f"{name}.png", optimize=True)
        print(self.out / f"{name}.png", flush=True)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            os.environ[name] = str(Path(scratch) / name.lower())
        os.environ["NAPARI_CELLCLASS_TOUR"] = "off"
        session = Session(Path(scratch))
        session.label()
        session.train()
        pictures = Pictures(session, given.out)
        pictures.pages()
        for make in (pictures.prepare, pictures.plate, pictures.evaluate, pictures.experiment):
            make()
        session.viewer.close()


if __name__ == "__main__":
    main()
