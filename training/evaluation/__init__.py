"""What a trained network is worth: scores with intervals, fusion rules, pictures, report."""
