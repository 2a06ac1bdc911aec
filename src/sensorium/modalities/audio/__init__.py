"""Audio: files and recordings read to samples, framing, spectra, cepstra and augmentation."""
