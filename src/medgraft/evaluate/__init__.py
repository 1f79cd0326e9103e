"""Predictions turned into Estimates: metrics, intervals, paired tests, calibration."""
