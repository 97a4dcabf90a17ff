"""Statistics of arrays: confidence intervals, agreement, metrics, calibration, logistic regression, learning curves."""
