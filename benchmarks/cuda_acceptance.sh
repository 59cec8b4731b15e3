#!/usr/bin/env bash
# Tests the project on a CUDA card: one call, under five minutes, nothing installed.
#
#   benchmarks/cuda_acceptance.sh FOLDER [--only STEP]... [--seconds N] [--data-dir DIR]
#                                        [--rehearse]
#
# Steps: doctor check tests speed single degradation inference ladder. Further ones, each
# for a second call of up to nine minutes: all (variants), transfer (finetune with all
# variants), standard and thousand (profiles of degradation), real and finetune, which read
# the four files of Fashion-MNIST from DIR (or $RESNET_BENCH_DATA_DIR). If a step fails or
# takes too long, the others still run, and what it finished is kept; the ladder takes the
# time left, 130 s at most. All end after N seconds (280; 540 with a further step). FOLDER
# gets seven files: output.txt, card.csv (clock, power and memory every 0.5 s), steps.txt,
# check.json, figures.json, verdict.txt and runs.tar.gz. `--rehearse` does it all on the
# CPU, small.
set -uo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '4,15p' "$0" | cut -c3-; exit 2; }
[[ $# -ge 1 && $1 != -* ]] || usage
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd); shift
only=(); rehearse=(); ends=; data=${RESNET_BENCH_DATA_DIR:-}
while [[ $# -gt 0 ]]; do
    case $1 in
        --only) only+=("${2:?}"); shift 2 ;;
        --seconds) ends=${2:?}; shift 2 ;;
        --data-dir) data=${2:?}; shift 2 ;;
        --rehearse) rehearse=(--rehearse); shift ;;
        *) usage ;;
    esac
done
[[ ${#only[@]} -gt 0 ]] || only=(doctor check tests speed single degradation inference ladder)
long=" all transfer standard thousand real finetune "
known=" doctor check speed ladder inference single degradation tests $long"
for step in "${only[@]}"; do [[ $known == *" $step "* ]] || usage; done

export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 NO_COLOR=1
runs=$(mktemp -d); mkdir -p "$runs/runs"
: >"$out/output.txt"; : >"$out/steps.txt"

python3 -m benchmarks.cuda_check watch "$out/card.csv" 2>>"$out/output.txt" &
watcher=$!
# After every step: a call that is ended from outside keeps what was finished.
pack() { tar -czf "$out/runs.tar.gz" -C "$runs" runs; }
finish() {
    kill "$watcher" 2>/dev/null; wait "$watcher" 2>/dev/null
    pack
    rm -r "$runs"
}
trap finish EXIT

# All steps end within this time; a second call may take longer.
for step in "${only[@]}"; do [[ $long != *" $step "* ]] || ends=${ends:-540}; done
ends=${ends:-280}
[[ ${#rehearse[@]} -eq 0 ]] || ends=1800

# What a ladder gets: what is left but for its tables and the judging, 20 to 130 seconds.
left() {
    local seconds=$((ends - SECONDS - 20))
    seconds=$((seconds > 20 ? seconds : 20))
    echo $((seconds < 130 ? seconds : 130))
}

# take NAME SECONDS COMMAND...: one line on what became of it, its output in output.txt.
take() {
    local name=$1 limit=$2 began=$SECONDS status left=$((ends - SECONDS)); shift 2
    if [[ $left -lt 5 ]]; then
        printf '%-18s        left out: no time\n' "$name" | tee -a "$out/steps.txt"; return
    fi
    [[ $limit -le $left ]] || limit=$left
    printf '\n== %s: %s\n' "$name" "$*" >>"$out/output.txt"
    timeout --kill-after=10 "$limit" "$@" >>"$out/output.txt" 2>&1; status=$?
    case $status in 0) status=ok ;; 4) status="incomplete" ;; 124|137) status="stopped after $limit s" ;; *) status="failed ($status)" ;; esac
    printf '%-18s %4d s  %s\n' "$name" $((SECONDS - began)) "$status" | tee -a "$out/steps.txt"
}
# bench NAME SECONDS ARGUMENTS...: a run of the program, kept under the step's name.
bench() {
    local name=$1 limit=$2; shift 2
    take "$name" "$limit" python3 -m resnet_bench "$@" --results "$runs/runs/$name"
}

if [[ ${#rehearse[@]} -gt 0 ]]; then
    tiny=(--model tests.engine.tiny_networks:tiny --device cpu --image-size 32 -b 4 --budget 30)
    small=(--device cpu --image-size 64 -b 2 --budget 30)
    speed=(--variants 18 "${small[@]}"); ladder=("${tiny[@]}" --budget 150)
    inference=("${tiny[@]}"); single=(--variants 18 "${small[@]}" -b 1 --mode infer)
    everything=(--variants 18 "${small[@]}")
    degradation=(--study depth,identity --seeds 1 --depths 8 --epochs 1 --device cpu)
    standard=(--depths 8 --epochs 1 --seeds 1 --study depth,gradients --device cpu)
    thousand=(--depths 8 --epochs 1 --seeds 1 --study identity --device cpu)
    real=(--study depth --depths 8 --epochs 1 --seeds 1 --device cpu --width 4)
    finetune=(--variants 18 --seeds 1 --epochs 1 --device cpu --strategy probe --shots 10)
    transfer=("${finetune[@]}")
    patience=3
else
    speed=(--variants 50 --budget 40); ladder=(--variants 18 --mode infer)
    inference=(--variants 50 --budget 45); single=(--variants 50 -b 1 --budget 15 --mode infer)
    degradation=(--jobs 4); everything=(--variants all --budget 200)
    # The networks are small: several at once keep the card busy.
    standard=(--profile standard --jobs 8); thousand=(--profile thousand --jobs 4)
    real=(--profile real --jobs 8)
    finetune=(--variants 18,50 --shots 50,200 --jobs 8); transfer=(--variants all --jobs 8)
    patience=1
fi

fashion=(--dataset fashionmnist --data-dir "$data")
for step in "${only[@]}"; do
    case $step in
        doctor) take doctor $((30 * patience)) python3 -m resnet_bench doctor ;;
        check) take check $((90 * patience)) python3 -m benchmarks.cuda_check measure "$out/check.json" "${rehearse[@]}" ;;
        speed) bench speed $((75 * patience)) speed "${speed[@]}" ;;
        ladder)
            [[ $patience -gt 1 ]] || ladder+=(--budget "$(left)")
            bench ladder $((280 * patience)) speed --ladder "${ladder[@]}" ;;
        inference) bench inference $((90 * patience)) speed --mode infer --dtype bf16 --channels-last --compile "${inference[@]}" ;;
        single) bench single $((45 * patience)) speed "${single[@]}" ;;
        degradation) bench degradation $((75 * patience)) degradation "${degradation[@]}" ;;
        tests) take tests $((60 * patience)) python3 -m pytest -q -p no:cacheprovider -m gpu tests/engine/test_on_cuda.py ;;
        all) bench all $((260 * patience)) speed "${everything[@]}" ;;
        standard) bench standard $((420 * patience)) degradation "${standard[@]}" ;;
        thousand) bench thousand $((300 * patience)) degradation "${thousand[@]}" ;;
        transfer) bench transfer $((300 * patience)) finetune "${transfer[@]}" ;;
        real) bench real $((250 * patience)) degradation "${fashion[@]}" "${real[@]}" ;;
        finetune) bench finetune $((200 * patience)) finetune "${fashion[@]}" "${finetune[@]}" ;;
    esac
    pack
done

cp -r "$runs/runs" "$out/runs"
python3 -m benchmarks.cuda_check judge "$out" "${rehearse[@]}" 2>&1 | tee "$out/verdict.txt"
status=${PIPESTATUS[0]}
rm -r "$out/runs"
grep -q -v ' ok$' "$out/steps.txt" && status=1
exit "$status"
