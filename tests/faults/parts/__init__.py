"""The parts of the proof, each a function that gives one `Result` or several."""
