"""What the columns of the tables mean, in the words that stand beside every table."""

from __future__ import annotations

from typing import Any

LOG_JACOBIAN = "natural logarithm, above 0 where the subject is larger than the template"
GROWTH = "natural logarithm, above 0 where the stratum is larger"
DICTIONARY: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session"},
    "segmentation": {
        "Description": "Where the labels come from",
        "Levels": {
            "own": "labels given with the image",
            "atlas": "labels fused from the atlases",
            "foreground": "foreground of the subject's template",
        },
    },
    "label": {"Description": "Value in the label image"},
    "structure": {"Description": "Name of the structure"},
    "volume_mm3": {"Description": "Volume of the structure", "Units": "mm^3"},
    "reference_volume_mm3": {"Description": "Volume in the member's own labels", "Units": "mm^3"},
    "share_of_intracranial": {"Description": "Volume over the intracranial volume (or all labels together)"},
    "voxels": {"Description": "Voxels of the structure in template space"},
    "absolute_mean": {"Description": f"Mean absolute log-Jacobian: {LOG_JACOBIAN}"},
    "absolute_sd": {"Description": "Standard deviation of the absolute log-Jacobian"},
    "relative_mean": {"Description": f"Mean log-Jacobian without the overall size: {LOG_JACOBIAN}"},
    "relative_sd": {"Description": "Standard deviation of the relative log-Jacobian"},
    "integrated_volume_mm3": {
        "Description": "Volume in the member: integral of the Jacobian over the template's label",
        "Units": "mm^3",
    },
    "bias_percent": {
        "Description": "Integrated over label volume, geometric mean over members, less one",
        "Units": "%",
    },
    "spread_percent": {"Description": "Standard deviation of the logarithm of that ratio", "Units": "%"},
    "correlation": {"Description": "Pearson correlation of the two volumes over members"},
    "confidence_mean": {
        "Description": "Mean confidence of the fused labels over the structure: share of the weights for the "
        "label chosen, 1 at best"
    },
    "baseline_session_id": {"Description": "Session that change is measured from"},
    "within_mean": {
        "Description": "Mean log-Jacobian over the structure on the subject's template: natural logarithm, "
        "above 0 where the session is larger than the subject's template"
    },
    "between_mean": {
        "Description": f"Mean log-Jacobian of the subject's template over the same voxels: {LOG_JACOBIAN}"
    },
    "overall_mean": {
        "Description": "Mean log-Jacobian of a session over the same voxels, the sum of within and between: "
        "natural logarithm, above 0 where the session is larger than the template"
    },
    "within_change": {"Description": "within_mean less that of the baseline"},
    "volume_change_percent": {"Description": "Volume less that at the baseline, over it", "Units": "%"},
    "own_volume_mm3": {"Description": "Volume in the session's own labels", "Units": "mm^3"},
    "own_volume_change_percent": {
        "Description": "Volume in the session's own labels less that at the baseline, over it",
        "Units": "%",
    },
    "sources": {"Description": "Sessions whose labels were carried"},
    "sessions": {"Description": "Sessions whose maps were added up"},
    "mean": {"Description": "Mean of the accumulated map over the structure, in its unit"},
    "minimum": {"Description": "Smallest value of the accumulated map in the structure"},
    "maximum": {"Description": "Largest value of the accumulated map in the structure"},
    **{
        f"d{share}": {"Description": f"Least value in the {share} % of the structure with the largest values"}
        for share in (98, 95, 50, 2)
    },
    "value": {"Description": "Value of the accumulated map, in its unit"},
    "volume_share": {"Description": "Share of the structure with at least this value"},
    "atlas": {"Description": "Atlas that all others labelled"},
    "fusion": {"Description": "How the labels of the others were fused"},
    "volume_bias_percent": {
        "Description": "Volume of the fused labels less that of the own, over that of the own",
        "Units": "%",
    },
    "dice": {"Description": "Dice overlap of fused and own labels, 1 at best"},
    "surface_distance_mm": {"Description": "Mean distance between the surfaces, both ways", "Units": "mm"},
    "hausdorff95_mm": {"Description": "95th percentile of the distances between the surfaces", "Units": "mm"},
    "fixed": {"Description": "Image that stays"},
    "moving": {"Description": "Image that is moved"},
    "stage": {"Description": "Stage of the workflow, or of the template"},
    "iteration": {"Description": "Iteration of the template"},
    "similarity_before": {"Description": "Correlation of the images before the registration"},
    "similarity_after": {"Description": "Correlation of the images after the registration"},
    "folded_voxels": {"Description": "Voxels at which the map or its inverse folds"},
    "minimum_jacobian": {"Description": "Smallest Jacobian determinant of the map and its inverse"},
    "inverse_consistency_mean_vox": {"Description": "Mean length of map after inverse", "Units": "voxel"},
    "inverse_consistency_max_vox": {"Description": "Largest length of map after inverse", "Units": "voxel"},
    "mask_dice": {"Description": "Dice of the foregrounds of the warped and the fixed image, 1 at best"},
    "label_dice": {
        "Description": "Mean Dice, over structures, of the member's own labels on the template with the "
        "labels that most members have there; decides no weight"
    },
    "affine_log_volume": {
        "Description": "Natural logarithm of the affine's change of volume, above 0 where the moving image "
        "is larger"
    },
    "affine_log_anisotropy": {
        "Description": "Length of the affine's log stretch without its change of volume: 0 where all "
        "directions are stretched alike"
    },
    "score": {
        "Description": "Distance of the worst measure from the median of the cohort, on its bad side",
        "Units": "robust standard deviations",
    },
    "worst": {"Description": "Measure that has the score"},
    "weight": {
        "Description": "Weight of the member in the average of this iteration, or in the published template"
    },
    "reason": {"Description": "Why it is not 1"},
    "held": {"Description": "Whether its transform to a given template was known: it was not registered"},
    "next_weight": {"Description": "Weight that the rule gives the member in an iteration that follows"},
    "next_reason": {"Description": "Why it is not 1"},
    "linear_retries": {"Description": "Linear stages whose answer was implausible and was looked for again"},
    "members": {"Description": "Members averaged"},
    "rms_shape_update_mm": {"Description": "RMS movement of the template's shape", "Units": "mm"},
    "rms_motion_mm": {"Description": "RMS movement of the members by a linear stage", "Units": "mm"},
    "mean_log_jacobian": {"Description": "Mean absolute log-Jacobian of the mean transform"},
    "mean_displacement_rms_mm": {"Description": "RMS of the mean displacement", "Units": "mm"},
    "mean_log_affine_rms_mm": {"Description": "RMS displacement by the mean log affine", "Units": "mm"},
    "template_change": {"Description": "RMS difference from the template before, over its RMS"},
    "sharpness": {
        "Description": "Root mean square gradient of the template over its mean intensity",
        "Units": "1/mm",
    },
    "mean_similarity": {"Description": "Mean correlation of members and template"},
    "outliers": {"Description": "Members far less similar to the template than the others"},
    "rms_intensity_change": {
        "Description": "RMS over the foreground of the change of the template's intensity if this member "
        "were left out"
    },
    "relative_intensity_change": {"Description": "The same over the RMS intensity of the template"},
    "rms_displacement_change_mm": {
        "Description": "RMS change of the mean displacement if this member were left out",
        "Units": "mm",
    },
    "rms_stretch_change_mm": {
        "Description": "RMS displacement by the change of the mean log stretch if this member were left out",
        "Units": "mm",
    },
    "stratum": {"Description": "cohort-<number> of the template in file names"},
    "name": {"Description": "What the stratum is"},
    "effective_members": {"Description": "Square of the sum of the weights over the sum of their squares"},
    "covariate": {"Description": "Covariate that the stratum is one of"},
    "covariate_mean": {"Description": "Weighted mean of the covariate over the members"},
    "mean_growth": {"Description": f"Mean log-Jacobian from the template's shape to the stratum's: {GROWTH}"},
    "rms_shape_change_mm": {
        "Description": "RMS distance over the foreground between the shapes of stratum and template",
        "Units": "mm",
    },
    "left_label": {"Description": "Value of the left structure in the label image"},
    "right_label": {"Description": "Value of the right structure in the label image"},
    "left_volume_mm3": {"Description": "Volume of the left structure", "Units": "mm^3"},
    "right_volume_mm3": {"Description": "Volume of the right structure", "Units": "mm^3"},
    "asymmetry_volume": {
        "Description": "Asymmetry index 2 (L - R) / (L + R) of the volumes, above 0 where the left is larger"
    },
    "asymmetry_jacobian": {
        "Description": "The same of the mean absolute log-Jacobians l and r, 2 tanh((l - r) / 2): relative "
        "to the template, and the subject's own where the template is symmetric"
    },
    "passed_through": {"Description": "Whether the stage had converged and the iteration repeats the last"},
    "rule": {"Description": "Rule of the workflow"},
    "job": {"Description": "Batch, and iteration where there is one"},
    "seconds": {"Description": "Run time, from start to end", "Units": "s"},
    "memory_mb": {"Description": "Largest resident memory", "Units": "MB"},
    "cpu_seconds": {"Description": "Processor time", "Units": "s"},
    "expected_memory_mb": {"Description": "Largest memory, as expected before the run", "Units": "MB"},
    "expected_cpu_seconds": {"Description": "Processor time, as expected before the run", "Units": "s"},
}
STRUCTURE = ("segmentation", "label", "structure")
STATISTICS = {
    "effect": "Contrast of the coefficients, in the unit of the response",
    "t": "t statistic of the contrast",
    "partialcorrelation": "Partial correlation of the response and what is contrasted: a standardised effect",
    "logp": "-log10 of the p-value of the voxel by itself, two-sided",
    "logpFdr": "-log10 of the false discovery rate at which the voxel is found (Benjamini and Hochberg)",
    "logpFwe": "-log10 of the family-wise corrected p-value of t, two-sided (Freedman and Lane)",
    "tfce": "Threshold-free cluster enhancement of t: extent^0.5 height^2, integrated exactly",
    "logpFweTfce": "-log10 of the family-wise corrected p-value of tfce, two-sided (Freedman and Lane)",
}


def _interval(name: str) -> dict[str, dict[str, str]]:
    """Columns of the ends of a confidence interval."""
    return {
        f"{name}_low": {"Description": "Lower end of its 95 % confidence interval"},
        f"{name}_high": {"Description": "Upper end of it"},
    }


MODEL_COLUMNS: dict[str, dict[str, Any]] = {
    **{name: DICTIONARY[name] for name in ("participant_id", "session_id", *STRUCTURE)},
    "took_part": {
        "Description": "Whether the member is a row of the design",
        "Levels": {"yes": "a row of the matrix", "no": "see reason"},
    },
    "reason": {"Description": "Why not"},
    "contrast": {"Description": "What is tested"},
    "response": {"Description": "What is modelled: see the formula in summary.json"},
    "model": {
        "Description": "How it was fitted",
        "Levels": {
            "linear": "least squares",
            "mixed": "restricted maximum likelihood with a random intercept",
        },
    },
    "members": {"Description": "Members whose measure is known"},
    "mean": {"Description": "Mean of the measure over these"},
    "effect": {"Description": STATISTICS["effect"]},
    "standard_error": {"Description": "Of the effect"},
    "effect_low": {"Description": "Lower end of the 95 % confidence interval of the effect"},
    "effect_high": {"Description": "Upper end of it"},
    "statistic": {"Description": "Effect over its standard error: t, or z of a mixed model"},
    "degrees_of_freedom": {"Description": "Of t"},
    "p": {"Description": "p-value, two-sided, of the structure by itself"},
    "p_fdr": {
        "Description": "False discovery rate among the structures of the contrast (Benjamini, Hochberg)"
    },
    "cohens_d": {"Description": "Effect over the standard deviation of what the design leaves unexplained"},
    **_interval("cohens_d"),
    "partial_correlation": {
        "Description": "Of the measure and what is contrasted, given the rest of the design"
    },
    **_interval("partial_correlation"),
}
