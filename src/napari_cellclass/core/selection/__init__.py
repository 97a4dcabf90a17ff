"""Which tile to label next, and how accurate the labels so far make the predictions."""
