"""Indicators as numba kernels over float64[symbols, bars]; `registry` names them. Importing this package is cheap."""
