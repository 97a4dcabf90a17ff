"""Classes, labels of tiles with undo, the annotation session on disk, and labels from drawn shapes."""
