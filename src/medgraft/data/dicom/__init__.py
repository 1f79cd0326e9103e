"""What DICOM headers say, and what of it may go further."""
