// An application that has its SVID from the SPIFFE Workload API, by go-spiffe.
//
//	context SOCKET             one X.509 context, as JSON
//	watch SOCKET COUNT         COUNT of them, one line each, as they come
//	pair SERVER CLIENT ID      a server by one socket, a client by the other, who demands that the server be ID; what it was told
//	bundle DOMAIN              a trust bundle in SPIFFE's JSON form, on standard input; what it holds, as JSON
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	ctx := context.Background()
	switch os.Args[1] {
	case "context":
		found, err := workloadapi.FetchX509Context(ctx, at(os.Args[2]))
		check(err)
		show(found)
	case "watch":
		count, _ := strconv.Atoi(os.Args[3])
		ctx, cancel := context.WithCancel(ctx)
		watch := &watcher{left: count, cancel: cancel}
		if err := workloadapi.WatchX509Context(ctx, watch, at(os.Args[2])); watch.left > 0 {
			log.Fatal(err)
		}
	case "pair":
		pair(ctx, os.Args[2], os.Args[3], spiffeid.RequireFromString(os.Args[4]))
	case "bundle":
		found, err := spiffebundle.Read(spiffeid.RequireTrustDomainFromString(os.Args[2]), os.Stdin)
		check(err)
		sequence, _ := found.SequenceNumber()
		refresh, _ := found.RefreshHint()
		print(map[string]any{"authorities": len(found.X509Authorities()), "sequence": sequence, "refresh": refresh.Seconds()})
	default:
		log.Fatalf("no such command: %s", os.Args[1])
	}
}

func at(socket string) workloadapi.ClientOption {
	return workloadapi.WithAddr("unix://" + socket)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func print(value any) {
	json.NewEncoder(os.Stdout).Encode(value)
}

func show(found *workloadapi.X509Context) {
	svid := found.DefaultSVID()
	bundle, err := found.Bundles.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	check(err)
	print(map[string]any{
		"id": svid.ID.String(), "serial": svid.Certificates[0].SerialNumber.Text(16), "chain": len(svid.Certificates),
		"holder": svid.Certificates[0].Subject.OrganizationalUnit, "authorities": len(bundle.X509Authorities()),
	})
}

type watcher struct {
	left   int
	cancel func()
}

func (w *watcher) OnX509ContextUpdate(found *workloadapi.X509Context) {
	show(found)
	if w.left--; w.left == 0 {
		w.cancel()
	}
}

func (w *watcher) OnX509ContextWatchError(err error) {
	if w.left > 0 {
		log.Print(err)
	}
}

func source(ctx context.Context, socket string) *workloadapi.X509Source {
	made, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(at(socket)))
	check(err)
	return made
}

func pair(ctx context.Context, serving, asking string, wanted spiffeid.ID) {
	server, client := source(ctx, serving), source(ctx, asking)
	defer server.Close()
	defer client.Close()
	own, err := client.GetX509SVID()
	check(err)
	mode := spiffetls.MTLSServerWithRawConfig(tlsconfig.AuthorizeID(own.ID), server, server)
	listener, err := spiffetls.ListenWithMode(ctx, "tcp", "127.0.0.1:0", mode)
	check(err)
	defer listener.Close()
	go serve(listener)
	conn, err := spiffetls.DialWithMode(ctx, "tcp", listener.Addr().String(),
		spiffetls.MTLSClientWithRawConfig(tlsconfig.AuthorizeID(wanted), client, client))
	check(err)
	defer conn.Close()
	_, err = conn.Write([]byte{0})
	check(err)
	said, err := io.ReadAll(conn)
	check(err)
	print(string(said))
}

func serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil { // the handshake comes with it
			id, err := spiffetls.PeerIDFromConn(conn)
			check(err)
			fmt.Fprintf(conn, "hello %s", id)
		}
		conn.Close()
	}
}
