/* The way of a call: through a proxy by a tunnel to the judged address, and by TLS to the name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "egress_fix.h"

/* ---- a proxy that tunnels everything to one port, or refuses ---- */

struct proxy {
    int fd, port, to_port;
    pthread_t thread;
    atomic_int stop, refuses, tunnels;
    char target[256]; /* of the last CONNECT */
};

static int listener(int *port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (void *)&in, sizeof in) | listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (void *)&in, &len), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static int connected(int port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    in.sin_port = htons((uint16_t)port);
    return connect(fd, (void *)&in, sizeof in) ? -1 : fd;
}

static void relay(struct proxy *p, int a, int b)
{
    struct pollfd pfd[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
    char text[4096];
    while (!atomic_load(&p->stop)) {
        if (poll(pfd, 2, 20) <= 0)
            continue;
        for (int i = 0; i < 2; i++) {
            ssize_t n = pfd[i].revents ? recv(pfd[i].fd, text, sizeof text, 0) : -1;
            if (pfd[i].revents && (n <= 0 || send(pfd[!i].fd, text, (size_t)n, MSG_NOSIGNAL) != n))
                return;
        }
    }
}

static void serve_one(struct proxy *p, int fd)
{
    static const char yes[] = "HTTP/1.1 200 Tunnel\r\nX-Of-The-Proxy: 1\r\n\r\n";
    static const char no[] = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    char text[4096] = "";
    size_t n = 0;
    while (n < sizeof text - 1 && !strstr(text, "\r\n\r\n")) {
        struct pollfd pfd = { .fd = fd, .events = POLLIN };
        ssize_t some = poll(&pfd, 1, 5000) > 0 ? recv(fd, text + n, sizeof text - 1 - n, 0) : -1;
        if (some <= 0)
            return;
        n += (size_t)some;
    }
    sscanf(text, "CONNECT %255s", p->target);
    if (atomic_load(&p->refuses)) {
        send(fd, no, sizeof no - 1, MSG_NOSIGNAL);
        return;
    }
    int to = connected(p->to_port);
    send(fd, yes, sizeof yes - 1, MSG_NOSIGNAL);
    atomic_fetch_add(&p->tunnels, 1);
    relay(p, fd, to);
    close(to);
}

static void *proxy_main(void *arg)
{
    struct proxy *p = arg;
    while (!atomic_load(&p->stop)) {
        struct pollfd pfd = { .fd = p->fd, .events = POLLIN };
        int fd = poll(&pfd, 1, 20) > 0 ? accept(p->fd, NULL, NULL) : -1;
        if (fd < 0)
            continue;
        serve_one(p, fd);
        close(fd);
    }
    return NULL;
}

static void proxy_start(struct proxy *p, int to_port)
{
    p->fd = listener(&p->port);
    p->to_port = to_port;
    assert_int_equal(pthread_create(&p->thread, NULL, proxy_main, p), 0);
}

static void proxy_stop(struct proxy *p)
{
    atomic_store(&p->stop, 1);
    pthread_join(p->thread, NULL);
    close(p->fd);
}

static void test_a_proxy_gets_the_judged_address_and_no_name(void **state)
{
    struct egress_fix *f = *state;
    struct proxy p = { .refuses = 0 };
    proxy_start(&p, f->peer.port);
    struct str url = str_printf(&f->cx.arena, "http://127.0.0.1:%d", p.port);
    eg_open(f, (struct egress_conf){ .proxy = url, .rest_ms = 100 });
    eg_answers(f, "10.0.0.1 8.8.8.8");

    struct egress_answer a =
        eg_ask(f, &(struct egress_ask){ .method = "GET", .url = STR("http://far.example/echo") });
    assert_int_equal(a.class, EGRESS_OK);
    assert_string_equal(p.target, "8.8.8.8:80");
    assert_true(text_has(a.body, "GET /echo HTTP/1.1") && text_has(a.body, "Host: far.example"));
    assert_null(egress_answer_header(&a, STR("X-Of-The-Proxy")).p);
    egress_close(f->eg);
    f->eg = NULL;
    proxy_stop(&p);
}

static void test_a_proxy_opens_nothing_that_is_denied(void **state)
{
    struct egress_fix *f = *state;
    struct proxy p = { .refuses = 1 };
    proxy_start(&p, f->peer.port);
    struct str url = str_printf(&f->cx.arena, "http://127.0.0.1:%d", p.port);
    eg_open(f, (struct egress_conf){ .proxy = url, .allow = STR("127.0.0.1"), .rest_ms = 100 });
    eg_answers(f, "10.0.0.1");
    struct egress_ask ask = { .method = "GET", .url = STR("http://inside.example/") };
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_DENIED);
    ask.url = STR("http://169.254.169.254/");
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_DENIED);
    assert_int_equal(eg_get(f, "/ok").class, EGRESS_OK); /* this machine: not by the proxy */
    assert_string_equal(p.target, "");
    ask.url = STR("http://8.8.8.8/");
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_PROXY);
    assert_string_equal(p.target, "8.8.8.8:80");
    egress_close(f->eg);
    f->eg = NULL;
    proxy_stop(&p);
}

/* ---- TLS ---- */

static enum MHD_Result greet(void *cls, struct MHD_Connection *c, const char *url,
                             const char *method, const char *version, const char *data,
                             size_t *size, void **con)
{
    char text[] = "hello";
    struct MHD_Response *r = MHD_create_response_from_buffer(5, text, MHD_RESPMEM_MUST_COPY);
    (void)cls, (void)url, (void)method, (void)version, (void)data, (void)size, (void)con;
    enum MHD_Result done = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return done;
}

static void pem_of(BIO *b, char *out, size_t cap)
{
    int n = BIO_read(b, out, (int)cap - 1);
    assert_true(n > 0);
    out[n] = '\0';
    BIO_free(b);
}

/* A key and a certificate that signs itself, for this name. */
static void certificate(const char *name, char *key_pem, char *cert_pem, size_t cap)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    char names[128];
    BIO *b = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    snprintf(names, sizeof names, "DNS:%s", name);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    assert_true(X509_add_ext(x, ext, -1) && X509_sign(x, key, EVP_sha256()));
    assert_true(PEM_write_bio_X509(b, x));
    assert_true(PEM_write_bio_PKCS8PrivateKey(k, key, NULL, NULL, 0, NULL, NULL));
    pem_of(b, cert_pem, cap);
    pem_of(k, key_pem, cap);
    X509_EXTENSION_free(ext);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void test_the_certificate_is_that_of_the_name(void **state)
{
    struct egress_fix *f = *state;
    char key[4096], cert[4096], path[] = "/tmp/test-egress-ca-XXXXXX";
    certificate("tls.example", key, cert, sizeof key);
    FILE *file = fdopen(mkstemp(path), "w");
    fputs(cert, file);
    fclose(file);
    int port, fd = listener(&port);
    struct MHD_Daemon *d =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS, 0, NULL, NULL, greet, NULL,
                         MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_HTTPS_MEM_KEY, key,
                         MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_END);
    assert_non_null(d);
    struct egress_conf conf = { .allow = STR("127.0.0.1"),
                                .ca_file = str_of(path),
                                .rest_ms = 100 };
    eg_open(f, conf);
    eg_answers(f, "127.0.0.1");
    struct egress_ask ask = { .method = "GET", .total_ms = 10000 };

    ask.url = str_printf(&f->cx.arena, "https://tls.example:%d/", port);
    struct egress_answer a = eg_ask(f, &ask);
    assert_int_equal(a.class, EGRESS_OK);
    assert_true(text_has(a.body, "hello"));
    ask.url = str_printf(&f->cx.arena, "https://other.example:%d/", port);
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_TLS);
    ask.url = str_printf(&f->cx.arena, "https://127.0.0.1:%d/", port);
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_TLS);
    conf.ca_file = STR_NONE; /* the system's: does not know it */
    eg_open(f, conf);
    ask.url = str_printf(&f->cx.arena, "https://tls.example:%d/", port);
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_TLS);
    MHD_stop_daemon(d);
    unlink(path);
}

static void test_ipv6_hosts_are_called_by_their_address(void **state)
{
    struct egress_fix *f = *state;
    struct peer six;
    eg_open(f, (struct egress_conf){ .allow = STR("::1"), .rest_ms = 100 });
    eg_answers(f, "fd00::1 ::1");
    peer_start(&six, "::1");
    struct egress_ask ask = { .method = "GET" };
    ask.url = str_printf(&f->cx.arena, "http://six.example:%d/echo", six.port);
    struct egress_answer a = eg_ask(f, &ask);
    assert_int_equal(a.class, EGRESS_OK);
    assert_true(text_has(a.body, "Host: six.example:"));
    ask.url = str_printf(&f->cx.arena, "http://[::1]:%d/echo", six.port);
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_OK);
    ask.url = str_printf(&f->cx.arena, "http://[fd00::1]:%d/echo", six.port);
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_DENIED);
    egress_close(f->eg);
    f->eg = NULL;
    peer_stop(&six);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_proxy_gets_the_judged_address_and_no_name),
        T(test_a_proxy_opens_nothing_that_is_denied),
        T(test_the_certificate_is_that_of_the_name),
        T(test_ipv6_hosts_are_called_by_their_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
