"""What a compression says about itself: records, report, plots, model card."""
