#!/usr/bin/env bash
# autoctl in a kind cluster, from the container image, for people with Docker.
#
# What differs from `make cluster`: the API server is kind's, and the operator is the pods of the
# chart. The simulated cloud and KWOK, which plays the kubelets of its nodes, run on this machine
# until Ctrl-C. Needs: docker, kind, go, python3.
#
#   hack/kind.sh           # make the cluster, install, run until Ctrl-C
#   hack/kind.sh delete    # remove the cluster
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CLUSTER=autoctl
IMAGE=autoctl/autoctl:dev
FOLDER=.cluster/kind
PORT=4566

for tool in docker kind go python3; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done
if [[ "${1:-}" == delete ]]; then
  exec kind delete cluster --name "$CLUSTER"
fi

make --no-print-directory venv
build() { PYTHONPATH=hack .venv/bin/python -m controlplane.build "$1"; }
kubectl="$(build kubernetes)/kubectl"
kwok="$(build kwok)/kwok"
helm="$(build helm)/helm"

mkdir -p "$FOLDER"
export KUBECONFIG="$PWD/$FOLDER/kubeconfig"
kind get clusters | grep -qx "$CLUSTER" || kind create cluster --name "$CLUSTER"
kind get kubeconfig --name "$CLUSTER" > "$KUBECONFIG"
docker build --tag "$IMAGE" .
kind load docker-image --name "$CLUSTER" "$IMAGE"

# Pods reach this machine through the gateway of kind's network.
gateway="$(docker network inspect kind \
  --format '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' | grep -m1 '\.')"
children=()
trap 'kill "${children[@]}" 2>/dev/null || true; wait' EXIT

.venv/bin/autoctl cloud --listen "$gateway:$PORT" --cluster-name "$CLUSTER" \
  --kubeconfig "$KUBECONFIG" > "$FOLDER/cloud.log" 2>&1 &
children+=($!)
stages=()
for stage in hack/controlplane/stages/*.yaml; do stages+=("--config=$stage"); done
# kind's own node has a kubelet.
"$kwok" --kubeconfig "$KUBECONFIG" --manage-nodes-with-label-selector='!node-role.kubernetes.io/control-plane' \
  --node-lease-duration-seconds=40 --cidr=100.64.0.1/10 --node-ip=192.0.2.1 \
  "${stages[@]}" > "$FOLDER/kwok.log" 2>&1 &
children+=($!)

"$helm" upgrade --install autoctl-crds charts/autoctl-crds --namespace kube-system
# One node, without a zone: one replica, spread over nothing.
"$helm" upgrade --install autoctl charts/autoctl --namespace kube-system --skip-crds \
  --values - --wait --timeout 3m <<VALUES
replicas: 1
topologySpreadConstraints: []
image: {repository: ${IMAGE%:*}, tag: ${IMAGE#*:}, pullPolicy: Never}
settings: {clusterName: $CLUSTER, interruptionQueue: $CLUSTER, region: us-west-2}
networkPolicy: {apiPorts: [443, 6443, $PORT]}
extraEnv:
  - {name: AWS_ENDPOINT_URL, value: "http://$gateway:$PORT"}
  - {name: AWS_ACCESS_KEY_ID, value: simulated}
  - {name: AWS_SECRET_ACCESS_KEY, value: simulated}
VALUES

cat <<TEXT

autoctl runs in kind. In another terminal:

  export KUBECONFIG=$KUBECONFIG
  $kubectl apply -f examples
  $kubectl get nodepools,nodeclaims,nodes,pods --watch

Ctrl-C ends the simulated cloud and KWOK; hack/kind.sh delete removes the cluster.
TEXT
"$kubectl" logs --namespace kube-system --selector app.kubernetes.io/name=autoctl --follow
