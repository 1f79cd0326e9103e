"""From a Scenario to a FittedScenario."""
