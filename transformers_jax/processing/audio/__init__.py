"""Sound: reading, resampling, and the features that models take."""
