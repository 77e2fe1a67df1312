package kubeadm

import "github.com/waypost/waypost/e2e/lab"

// KubeProxyConfig is the ConfigMap that kubeadm makes for kube-proxy, but for the metrics' address, which is to be reached
// from outside of the node here.
const KubeProxyConfig = `
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system}
data:
  kubeconfig.conf: |
    apiVersion: v1
    kind: Config
    clusters:
    - {name: default, cluster: {server: "https://` + lab.NodeAddress + `:6443", certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}}
    contexts:
    - {name: default, context: {cluster: default, namespace: default, user: default}}
    users:
    - {name: default, user: {tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}}
    current-context: default
  config.conf: |
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    bindAddress: 0.0.0.0
    bindAddressHardFail: false
    clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
    clusterCIDR: ` + lab.PodRange + `
    configSyncPeriod: 0s
    conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null, udpStreamTimeout: 0s, udpTimeout: 0s}
    detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
    detectLocalMode: ""
    enableProfiling: false
    healthzBindAddress: ""
    hostnameOverride: ""
    iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
    metricsBindAddress: 0.0.0.0:10249
    mode: ""
    nodePortAddresses: null
    oomScoreAdj: null
    portRange: ""
`

// kubeProxyAccount is what kubeadm makes in code.
const kubeProxyAccount = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: kube-proxy, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "kubeadm:node-proxier"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:node-proxier"}
subjects: [{kind: ServiceAccount, name: kube-proxy, namespace: kube-system}]
`
