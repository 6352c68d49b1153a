"""What the speech engines share and are made of: voices, sentences, encoders, recordings."""
