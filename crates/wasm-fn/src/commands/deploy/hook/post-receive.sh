#!/bin/sh
# A post-receive hook (githooks(5)), printed by `wasm-fn hook`. It builds what is pushed to one branch, and
# deploys it. All that it says is shown to whoever pushes.
#
# By the time it runs, git has taken the push: whatever goes wrong here, the branch stays as it was pushed.
#
# The repository's configuration says where the node is, and who deploys:
#     git config wasm-fn.server https://node.example.com:8081
#     git config wasm-fn.token-file /etc/wasm-fn/deploy.token
# Also wasm-fn.ca and wasm-fn.data-dir. What is not there comes from the environment: WASM_FN_SERVER and so on.
set -u

function=@FUNCTION@
stage=@STAGE@
branch=@BRANCH@
build=@BUILD@
file=@FILE@
seconds_max=@SECONDS@

say() {
    printf 'wasm-fn: %s\n' "$*"
}

fail() {
    say "FAILED: $*"
    exit 1
}

# In a subshell, so that its end takes the checkout with it.
release() (
    commit=$1
    # One push at a time. The lock ends with this subshell, and no program that the build leaves behind has it.
    exec 9>"$(git rev-parse --absolute-git-dir)/wasm-fn.lock"
    if ! flock -n 9; then
        say "waiting for the push before this one"
        flock -w "$seconds_max" 9 ||
            fail "the push before this one has not ended after ${seconds_max}s; push again"
    fi
    # A later push may have come first. It is the one that counts, and its own hook deploys it.
    tip=$(git rev-parse --verify --quiet "refs/heads/$branch")
    if [ "$tip" != "$commit" ]; then
        say "the branch $branch is somewhere else by now; $(git log -1 --format=%h "$commit") is not deployed"
        exit 0
    fi
    work=$(mktemp -d) || fail "no temporary directory can be made"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$work/checkout" || exit 1
    # With an index of its own: a bare repository has none, and should get none.
    GIT_INDEX_FILE=$work/index git read-tree "$commit" &&
        GIT_INDEX_FILE=$work/index GIT_WORK_TREE=$work/checkout git checkout-index --all ||
        fail "commit $commit cannot be checked out"
    short=$(git log -1 --format=%h "$commit")
    message=$(git log -1 --format='%h %s (%an)' "$commit")
    token_file=$(git config --get wasm-fn.token-file)
    for setting in server ca data-dir; do
        value=$(git config --get "wasm-fn.$setting") || continue
        case $setting in
            server) export WASM_FN_SERVER="$value" ;;
            ca) export WASM_FN_CA="$value" ;;
            data-dir) export WASM_FN_DATA_DIR="$value" ;;
        esac
    done

    # What follows is not about this repository, though git has said so in the environment.
    unset $(git rev-parse --local-env-vars)
    cd "$work/checkout" || exit 1
    if [ -n "$build" ]; then
        say "building $short: $build"
        (unset WASM_FN_TOKEN && exec timeout -k 10 "$seconds_max" sh -c "$build") </dev/null 9>&-
        status=$?
        case $status in
            0) ;;
            124)
                fail "the build of $short was ended after ${seconds_max}s;" \
                    "$function in stage $stage is as it was"
                ;;
            *) fail "the build of $short ended with status $status; $function in stage $stage is as it was" ;;
        esac
    fi
    if [ -n "$token_file" ]; then
        WASM_FN_TOKEN=$(cat "$token_file") || fail "the token in $token_file cannot be read"
        export WASM_FN_TOKEN
    fi
    say "deploying $short to $function in stage $stage"
    set -- --function="$function" --stage="$stage" --message="$message" @OPTIONS@
    if [ -n "$file" ]; then
        set -- "$@" -- "$file"
    fi
    wasm-fn deploy "$@" </dev/null 9>&-
    status=$?
    case $status in
        0) say "deployed $short" ;;
        2) fail "the rollout of $short was taken back; the version before it serves" ;;
        3) say "the rollout of $short goes on: see wasm-fn status $function -w" ;;
        127) fail "there is no wasm-fn on the path of this git server: $PATH" ;;
        *) fail "$short is not deployed, as said above; see wasm-fn status $function for what serves" ;;
    esac
)

for program in flock timeout; do
    command -v "$program" >/dev/null || fail "there is no $program on the path of this git server: $PATH"
done

failed=0
while read -r _ new ref; do
    [ "$ref" = "refs/heads/$branch" ] || continue
    case $new in
        *[!0]*) release "$new" || failed=1 ;;
        *) say "the branch $branch was deleted; $function in stage $stage is as it was" ;;
    esac
done
exit "$failed"
