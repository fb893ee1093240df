"""Parts of the plan of a study, a file a subject; `regcore.study.plan` puts them together."""
