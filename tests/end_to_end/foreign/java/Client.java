// grpc-java against a node, asked as its users would: `java Client HOST PORT DESCRIPTORS`; what it saw, as JSON.
// The descriptors come as a FileDescriptorSet, so that neither protoc nor generated code is needed.

import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.Descriptors.ServiceDescriptor;
import com.google.protobuf.DynamicMessage;
import com.google.protobuf.TextFormat;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

public class Client {
    private static final Map<String, ServiceDescriptor> SERVICES = new HashMap<>();
    private static final Map<String, String> FOUND = new HashMap<>();
    private static final long PATIENCE_S = 60;

    public static void main(String[] arguments) throws Exception {
        readDescriptors(Path.of(arguments[2]));
        ManagedChannel channel =
            NettyChannelBuilder.forAddress(arguments[0], Integer.parseInt(arguments[1])).usePlaintext().build();
        try {
            health(channel);
            recommend(channel);
            infer(channel);
            watch(channel);
        } finally {
            channel.shutdownNow();
            channel.awaitTermination(PATIENCE_S, TimeUnit.SECONDS);
        }
        StringBuilder json = new StringBuilder("{");
        FOUND.forEach((name, value) -> json.append(json.length() > 1 ? "," : "").append(quoted(name)).append(":")
            .append(quoted(value)));
        System.out.println(json.append("}"));
    }

    private static void health(ManagedChannel channel) throws Exception {
        HealthCheckRequest whole = HealthCheckRequest.getDefaultInstance();
        FOUND.put("health", HealthGrpc.newBlockingStub(channel).withDeadlineAfter(PATIENCE_S, TimeUnit.SECONDS)
            .check(whole).getStatus().name());
        Iterator<HealthCheckResponse> watched =
            HealthGrpc.newBlockingStub(channel).withDeadlineAfter(PATIENCE_S, TimeUnit.SECONDS).watch(whole);
        FOUND.put("health_watch", watched.next().getStatus().name());
        FOUND.put("health_unknown", codeOf(() -> HealthGrpc.newBlockingStub(channel)
            .check(HealthCheckRequest.newBuilder().setService("nope").build())));
    }

    private static void recommend(Channel channel) throws Exception {
        String method = "nearline.v1.Recommender/Recommend";
        FOUND.put("recommend", text(unary(channel, method, "objective: 'shop' entity_id: 'ann' k: 2", PATIENCE_S)));
        FOUND.put("not_found", codeOf(() -> unary(channel, method, "objective: 'nope' entity_id: 'a'", PATIENCE_S)));
        // Metadata with a binary value, and gzip, as interceptors of its users add them.
        Metadata more = new Metadata();
        more.put(Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER), "r-1");
        more.put(Metadata.Key.of("x-trace-bin", Metadata.BINARY_BYTE_MARSHALLER), new byte[] {0, (byte) 255, 10});
        Channel adding = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(more));
        FOUND.put("metadata", text(unary(adding, method, "objective: 'shop' entity_id: 'bob' k: 1", PATIENCE_S)));
        String longer = "objective: 'shop' entity_id: 'bob' k: 1 exclude: '" + "x".repeat(50_000) + "'";
        MethodDescriptor<DynamicMessage, DynamicMessage> called = method(method, MethodType.UNARY);
        FOUND.put("gzip", text(ClientCalls.blockingUnaryCall(channel, called,
            CallOptions.DEFAULT.withCompression("gzip").withDeadlineAfter(PATIENCE_S, TimeUnit.SECONDS),
            message(method, longer))));
    }

    private static void infer(Channel channel) throws Exception {
        String method = "inference.GRPCInferenceService/ModelInfer";
        String request = "model_name: 'twice' inputs { name: 'x' datatype: 'FP32' shape: 1 shape: 3 "
            + "contents { fp32_contents: 1 fp32_contents: 2 fp32_contents: 3 } }";
        FOUND.put("infer", text(unary(channel, method, request, PATIENCE_S)));
        FOUND.put("bad_shape", codeOf(() -> unary(channel, method, request.replace("shape: 3", "shape: 4"), PATIENCE_S)));

        String streaming = "inference.GRPCInferenceService/ModelStreamInfer";
        List<String> answers = new ArrayList<>();
        CountDownLatch ended = new CountDownLatch(1);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        StreamObserver<DynamicMessage> requests = ClientCalls.asyncBidiStreamingCall(
            channel.newCall(method(streaming, MethodType.BIDI_STREAMING), CallOptions.DEFAULT), new StreamObserver<>() {
                public void onNext(DynamicMessage answer) {
                    answers.add(text(answer));
                }

                public void onError(Throwable error) {
                    failure.set(error);
                    ended.countDown();
                }

                public void onCompleted() {
                    ended.countDown();
                }
            });
        for (int number = 0; number < 30; number++) {
            requests.onNext(message(streaming, "id: '" + number + "' " + request));
        }
        requests.onCompleted();
        if (!ended.await(PATIENCE_S, TimeUnit.SECONDS) || failure.get() != null) {
            throw new IllegalStateException("ModelStreamInfer: " + failure.get());
        }
        FOUND.put("stream", String.join("\n", answers));
    }

    private static void watch(Channel channel) throws Exception {
        String method = "nearline.v1.ModelStatus/Watch";
        Iterator<DynamicMessage> changes = ClientCalls.blockingServerStreamingCall(channel,
            method(method, MethodType.SERVER_STREAMING), CallOptions.DEFAULT.withDeadlineAfter(10, TimeUnit.SECONDS),
            message(method, ""));
        FOUND.put("watch", text(changes.next()));
        // It goes on for ever, so that the deadline ends it.
        FOUND.put("deadline", codeOf(() -> {
            while (changes.hasNext()) {
                changes.next();
            }
        }));
    }

    private static DynamicMessage unary(Channel channel, String method, String request, long seconds) {
        return ClientCalls.blockingUnaryCall(channel, method(method, MethodType.UNARY),
            CallOptions.DEFAULT.withDeadlineAfter(seconds, TimeUnit.SECONDS), message(method, request));
    }

    private static MethodDescriptor<DynamicMessage, DynamicMessage> method(String path, MethodType type) {
        var called = called(path);
        return MethodDescriptor.<DynamicMessage, DynamicMessage>newBuilder().setType(type).setFullMethodName(path)
            .setRequestMarshaller(ProtoUtils.marshaller(DynamicMessage.getDefaultInstance(called.getInputType())))
            .setResponseMarshaller(ProtoUtils.marshaller(DynamicMessage.getDefaultInstance(called.getOutputType())))
            .build();
    }

    private static com.google.protobuf.Descriptors.MethodDescriptor called(String path) {
        int slash = path.indexOf('/');
        return SERVICES.get(path.substring(0, slash)).findMethodByName(path.substring(slash + 1));
    }

    private static DynamicMessage message(String path, String text) {
        DynamicMessage.Builder builder = DynamicMessage.newBuilder(called(path).getInputType());
        try {
            TextFormat.merge(text, builder);
        } catch (TextFormat.ParseException error) {
            throw new IllegalArgumentException(error);
        }
        return builder.build();
    }

    private static void readDescriptors(Path file) throws Exception {
        Map<String, FileDescriptor> known = new HashMap<>();
        for (FileDescriptorProto proto : FileDescriptorSet.parseFrom(Files.readAllBytes(file)).getFileList()) {
            FileDescriptor[] needed =
                proto.getDependencyList().stream().map(known::get).toArray(FileDescriptor[]::new);
            FileDescriptor descriptor = FileDescriptor.buildFrom(proto, needed);
            known.put(proto.getName(), descriptor);
            descriptor.getServices().forEach(service -> SERVICES.put(service.getFullName(), service));
        }
    }

    private static String codeOf(Runnable call) {
        try {
            call.run();
            return "OK";
        } catch (StatusRuntimeException error) {
            return error.getStatus().getCode().name();
        }
    }

    private static String text(DynamicMessage message) {
        return TextFormat.printer().emittingSingleLine(true).printToString(message);
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"';
    }
}
