"""Compare exported models with those they were made from, on 10 000 tiles each, in ONNX Runtime and OpenCV.

    python benchmarks/onnx_export.py FOLDER [--opencv PYTHON ...] [--tiles N]

FOLDER is where models are trained and tiles are written. Each PYTHON is an interpreter of an environment with numpy and
another version of OpenCV; the one of this program is always among them. Writes its section of RESULTS.md.
"""
