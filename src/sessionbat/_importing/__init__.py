"""Files of many forms → records → events and the steps of transcripts; for ``importing`` only."""
