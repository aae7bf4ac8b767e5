"""Balance service: owns the chips of a poker platform and can prove that none was made or lost."""
