"""Whether intervals can be trusted: simulation-based calibration, and the audit of stated errors."""

from .calibration import SimulationBasedCalibration, simulation_based_calibration

__all__ = ["SimulationBasedCalibration", "simulation_based_calibration"]
