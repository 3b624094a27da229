"""Pictures of a finding: saliency overlay, caption, and layout."""
