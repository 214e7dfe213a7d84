// An HTTP server and a client of the standard library of Go, HTTP/2 without TLS included.
//
//	serve PORT [h1]      every path of the contract in ../README.md; with h1 no HTTP/2
//	get URL COUNT [h2]   COUNT requests at a time over one client; a JSON array of what came back
//	trailers URL [h2]    a body with a trailer; the answer's body and trailers as JSON
package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

func main() {
	switch os.Args[1] {
	case "serve":
		serve(os.Args[2], len(os.Args) > 3)
	case "get":
		count, _ := strconv.Atoi(os.Args[3])
		get(client(len(os.Args) > 4), os.Args[2], count)
	case "trailers":
		trailers(len(os.Args) > 3, os.Args[2])
	default:
		log.Fatalf("no such command: %s", os.Args[1])
	}
}

// -- server

func serve(port string, http1Only bool) {
	released := make(chan struct{}, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Spoken", r.Proto)
		fmt.Fprintln(w, "hello from go")
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"spoken": r.Proto, "host": r.Host, "headers": r.Header})
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		block := make([]byte, 65536)
		for i := range block {
			block[i] = byte(i % 251)
		}
		if r.URL.Query().Get("framing") != "chunked" {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		for n > 0 {
			size := n
			if size > len(block) {
				size = len(block)
			}
			if _, err := w.Write(block[:size]); err != nil {
				return
			}
			n -= size
		}
	})
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%d %x %s\n", n, hash.Sum(nil), r.Trailer.Get("X-Checksum"))
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 { // HTTP/1 of this library: first all of the request, then the response
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			w.(http.Flusher).Flush()
			w.Write(body)
			return
		}
		w.(http.Flusher).Flush()
		buffer := make([]byte, 65536)
		for {
			n, err := r.Body.Read(buffer)
			w.Write(buffer[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Checksum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Checksum", "seen="+r.Trailer.Get("X-Checksum"))
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		w.Header().Set("ETag", "\"7\"")
		w.WriteHeader(code)
	})
	mux.HandleFunc("/close", func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nup to the end")
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: first\n\n")
		w.(http.Flusher).Flush()
		select {
		case <-released:
			io.WriteString(w, "data: second\n\n")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/release", func(w http.ResponseWriter, r *http.Request) { released <- struct{}{} })
	var handler http.Handler = mux
	if !http1Only {
		handler = h2c.NewHandler(mux, &http2.Server{})
	}
	log.Fatal(http.ListenAndServe(":"+port, handler))
}

// -- client

func client(isHTTP2 bool) *http.Client {
	if !isHTTP2 {
		return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	}
	return &http.Client{Transport: &http2.Transport{
		AllowHTTP: true,
		DialTLS:   func(network, address string, _ *tls.Config) (net.Conn, error) { return net.Dial(network, address) },
	}}
}

type answer struct {
	Status   int
	Spoken   string
	Body     string
	Headers  http.Header
	Trailers http.Header
	Error    string
}

func read(response *http.Response, err error) answer {
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{response.StatusCode, response.Proto, string(body), response.Header, response.Trailer, ""}
}

func get(client *http.Client, url string, count int) {
	answers := make([]answer, count)
	var all sync.WaitGroup
	for i := range answers {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			answers[i] = read(client.Get(url))
		}(i)
	}
	all.Wait()
	json.NewEncoder(os.Stdout).Encode(answers)
}

func trailers(isHTTP2 bool, url string) {
	// Of a reader whose size is unknown, so that the body is chunked and may have trailers.
	request, _ := http.NewRequest("POST", url, io.MultiReader(bytes.NewReader([]byte("with a trailer"))))
	request.Trailer = http.Header{"X-Checksum": {"abc"}}
	request.Header.Set("TE", "trailers") // without it a proxy may keep the response's to itself (RFC 9110 s6.5.1)
	if !isHTTP2 {
		request.Header.Set("Connection", "TE")
	}
	json.NewEncoder(os.Stdout).Encode(read(client(isHTTP2).Do(request)))
}
