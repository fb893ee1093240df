#!/bin/sh
# Says of one job of PBS, Grid Engine or SLURM what Snakemake's cluster-generic executor asks for: running, success or
# failed. Without it, Snakemake would wait for ever for a job that was killed.
#   --cluster-generic-status-cmd profiles/state.sh

job=$1

once() {
    if command -v scontrol >/dev/null && known=$(scontrol --oneliner show job "$job" 2>/dev/null); then
        case $known in
            *JobState=COMPLETED*) echo success ;;
            *JobState=PENDING* | *JobState=CONFIGURING* | *JobState=RUNNING* | *JobState=COMPLETING* | *JobState=SUSPENDED*)
                echo running ;;
            *) echo failed ;;
        esac
    elif known=$(qstat -x -f "$job" 2>/dev/null) && echo "$known" | grep -q 'job_state ='; then # PBS
        if ! echo "$known" | grep -qi 'job_state = [CFX]'; then
            echo running
        elif echo "$known" | grep -qi 'exit_status = 0$'; then
            echo success
        else
            echo failed
        fi
    elif qstat -j "$job" >/dev/null 2>&1; then # Grid Engine, as long as the job waits or runs
        echo running
    elif known=$(qacct -j "$job" 2>/dev/null); then # Grid Engine, afterwards
        if echo "$known" | grep -q '^failed  *0 *$' && echo "$known" | grep -q '^exit_status  *0 *$'; then
            echo success
        else
            echo failed
        fi
    else
        return 1
    fi
}

# a server may be busy, and Grid Engine's books are some seconds late
for pause in 2 5 10 20 0; do
    once && exit
    sleep "$pause"
done
# nobody knows this job: to run it once more does no harm, since every run of a job writes the same bytes
echo failed
