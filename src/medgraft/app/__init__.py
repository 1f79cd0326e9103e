"""The page for those who never type: data read and checked, studies started, watched and tried."""
