"""Classes, tile labels with undo, annotation sessions on disk, and labels from drawn shapes."""
