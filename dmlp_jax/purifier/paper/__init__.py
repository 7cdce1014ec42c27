"""The paper's own schedule, Eq. 4-9."""
