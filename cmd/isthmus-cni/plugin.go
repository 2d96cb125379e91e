package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	result "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/isthmus-cni/isthmus/internal/cniwire"
)

// callTimeout is a little longer than the agent's timeout for ADD, so that the plugin
// receives the agent's error.
const callTimeout = 30 * time.Second

type plugin struct{}

// conf is our entry in the network configuration list.
type conf struct {
	types.PluginConf
	// Socket is the path of the agent's socket.
	Socket string `json:"socket,omitempty"`
}

// readConf returns our entry of the configuration. It errs if stdin is not valid JSON.
func readConf(stdin []byte) (conf, error) {
	c := conf{Socket: cniwire.DefaultSocket}
	if err := json.Unmarshal(stdin, &c); err != nil {
		return conf{}, types.NewError(types.ErrDecodingFailure, "cannot read the network configuration", err.Error())
	}
	return c, nil
}

func (plugin) add(args *skel.CmdArgs) error {
	c, err := readConf(args.StdinData)
	if err != nil {
		return err
	}
	netns, err := os.Open(args.Netns)
	if err != nil {
		return types.NewError(types.ErrInvalidNetNS, "cannot open the pod's network namespace", err.Error())
	}
	defer netns.Close()
	answer, err := call(c, request(cniwire.Add, args), netns)
	if err != nil {
		return err
	}
	if answer.Result == nil {
		return types.NewError(types.ErrInternal, "the agent's response has no result", "")
	}
	r, err := toCNI(answer.Result)
	if err != nil {
		return err
	}
	return types.PrintResult(r, c.CNIVersion)
}

func (plugin) del(args *skel.CmdArgs) error {
	c, err := readConf(args.StdinData)
	if err != nil {
		return err
	}
	// The namespace may be gone already; the agent still removes the rest.
	netns, err := os.Open(args.Netns)
	if err == nil {
		defer netns.Close()
	}
	_, err = call(c, request(cniwire.Del, args), netns)
	return err
}

func (plugin) check(args *skel.CmdArgs) error {
	c, err := readConf(args.StdinData)
	if err != nil {
		return err
	}
	r := request(cniwire.Check, args)
	if r.Addresses, err = prevAddresses(&c); err != nil {
		return err
	}
	netns, err := os.Open(args.Netns)
	if err != nil {
		return types.NewError(types.ErrInvalidNetNS, "cannot open the pod's network namespace", err.Error())
	}
	defer netns.Close()
	_, err = call(c, r, netns)
	return err
}

func (plugin) gc(args *skel.CmdArgs) error {
	c, err := readConf(args.StdinData)
	if err != nil {
		return err
	}
	r := cniwire.Request{Verb: cniwire.GC}
	for _, a := range c.ValidAttachments {
		r.Keep = append(r.Keep, cniwire.Attachment{Container: a.ContainerID, Link: a.IfName})
	}
	_, err = call(c, r, nil)
	return err
}

func (plugin) status(args *skel.CmdArgs) error {
	c, err := readConf(args.StdinData)
	if err != nil {
		return err
	}
	_, err = call(c, cniwire.Request{Verb: cniwire.Status}, nil)
	return err
}

func request(v cniwire.Verb, args *skel.CmdArgs) cniwire.Request {
	k := parseArgs(args.Args)
	return cniwire.Request{
		Verb: v, Attachment: cniwire.Attachment{Container: args.ContainerID, Link: args.IfName}, NetNS: args.Netns,
		Namespace: k["K8S_POD_NAMESPACE"], Pod: k["K8S_POD_NAME"], UID: k["K8S_POD_UID"],
	}
}

// parseArgs returns the pairs in CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=a;...".
func parseArgs(args string) map[string]string {
	all := map[string]string{}
	for pair := range strings.SplitSeq(args, ";") {
		key, value, _ := strings.Cut(pair, "=")
		all[key] = value
	}
	return all
}

// call sends a request to the agent and returns its response. Every failure becomes a CNI
// error. Without an agent, STATUS returns "plugin not available", and every other request
// returns "try again later".
func call(c conf, r cniwire.Request, netns *os.File) (cniwire.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	answer, err := cniwire.Call(ctx, c.Socket, r, netns)
	switch {
	case errors.Is(err, cniwire.ErrNoAgent) && r.Verb == cniwire.Status:
		return answer, types.NewError(types.ErrPluginNotAvailable, cniwire.ErrNoAgent.Error(), err.Error())
	case errors.Is(err, cniwire.ErrNoAgent):
		return answer, types.NewError(types.ErrTryAgainLater, cniwire.ErrNoAgent.Error(), err.Error())
	case err != nil:
		return answer, types.NewError(types.ErrInternal, "the agent's response is not valid", err.Error())
	case answer.Error != nil:
		return answer, types.NewError(answer.Error.Code, answer.Error.Msg, answer.Error.Details)
	}
	return answer, nil
}

// prevAddresses returns the addresses in the result of ADD, which the runtime passes
// to CHECK as prevResult. It errs if there is none.
func prevAddresses(c *conf) ([]string, error) {
	if c.RawPrevResult == nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "CHECK needs prevResult", "")
	}
	if err := version.ParsePrevResult(&c.PluginConf); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "cannot read prevResult", err.Error())
	}
	r, err := result.NewResultFromResult(c.PrevResult)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "cannot read prevResult", err.Error())
	}
	var all []string
	for _, ip := range r.IPs {
		all = append(all, ip.Address.String())
	}
	return all, nil
}

// toCNI returns the agent's result as a result of the CNI specification.
func toCNI(r *cniwire.Result) (*result.Result, error) {
	out := &result.Result{CNIVersion: result.ImplementedSpecVersion}
	for _, i := range r.Interfaces {
		out.Interfaces = append(out.Interfaces, &result.Interface{Name: i.Name, Mac: i.MAC, Mtu: i.MTU, Sandbox: i.NetNS})
	}
	for _, a := range r.Addresses {
		ip, network, err := net.ParseCIDR(a.Prefix)
		if err != nil {
			return nil, fmt.Errorf("the agent's response: %w", err)
		}
		network.IP = ip
		out.IPs = append(out.IPs, &result.IPConfig{Interface: new(a.Interface), Address: *network, Gateway: net.ParseIP(a.Gateway)})
	}
	for _, r := range r.Routes {
		_, to, err := net.ParseCIDR(r.To)
		if err != nil {
			return nil, fmt.Errorf("the agent's response: %w", err)
		}
		out.Routes = append(out.Routes, &types.Route{Dst: *to, GW: net.ParseIP(r.Via)})
	}
	return out, nil
}
